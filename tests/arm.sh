#!/bin/sh
# The programs for ARM under qemu-user: built static, started, and put through the whole
# integration suite; on armhf, where a word has 32 bits, the library's tests as well, and the
# moment in 2038 at which seconds of 31 bits end:
#   sh tests/arm.sh ARCH...          arm64 (musl, static.sh), armhf (glibc, Rust 1.85, cross.sh)
set -eu

cd "$(dirname "$0")/.."
end_ms=2147483648000
dir= pids=
finish() {
    status=$?
    trap - EXIT INT TERM HUP
    for pid in $pids; do kill "$pid" 2>/dev/null || :; done
    [ -z "$dir" ] || rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

# start NAME COMMAND...: in the background; sets $address to where it says that it listens.
start() {
    name=$1 tries=0
    shift
    "$@" >"$dir/$name.out" 2>&1 &
    pids="$pids $!"
    until address=$(sed -n 's/^listening on //p' "$dir/$name.out") && [ -n "$address" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || { echo "arm: $name does not listen"; cat "$dir/$name.out"; exit 1; }
        sleep 0.1
    done
}

# past_2038 BUILT: agent and manager work on, from half a minute before. qemu-arm itself is
# dynamic, so that its clock can be another.
past_2038() {
    dir=$(mktemp -d)
    then="env LD_PRELOAD=$(dpkg -L libfaketime | grep 'libfaketimeMT.so.1$') FAKETIME_DONT_FAKE_MONOTONIC=1"
    start server qemu-arm "$1/tcpmon-server" --quiet --listen 127.0.0.1:0
    web=$address
    start agent $then FAKETIME="@2038-01-19 03:13:38" qemu-arm "$1/tcpmon-agent" --listen 127.0.0.1:0 --data "$dir/agent"
    cat >"$dir/fleet.json" <<END
{ "agents": [ { "name": "attic", "address": "$address" } ], "defaults": { "interval": "500ms" },
  "targets": [ { "name": "web", "address": "$web" } ] }
END
    $then FAKETIME="@2038-01-19 03:13:38" qemu-arm "$1/tcpmon-manager" serve --config "$dir/fleet.json" --data "$dir/manager" >"$dir/manager.out" 2>&1 &
    pids="$pids $!"
    results() { cat "$dir/manager/history"/*/*.jsonl 2>/dev/null | sed -n 's/.*"at":\([0-9]*\),"target":"web","ok":true.*/\1/p' | awk "$1 { n++ } END { print n + 0 }"; }
    tries=0
    until [ "$(results "\$1 > $end_ms")" -ge 20 ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 90 ] || { echo "arm: no results of after 2038-01-19"; tail "$dir"/*.out; exit 1; }
        sleep 1
    done
    before=$(results "\$1 < $end_ms") others=$(results "\$1 < $end_ms - 60000 || \$1 > $end_ms + 120000")
    [ "$before" -ge 5 ] && [ "$others" = 0 ] || { echo "arm: $before results before 2038-01-19T03:14:08Z, $others of another day"; exit 1; }
    qemu-arm "$1/tcpmon-manager" audit --config "$dir/fleet.json" --data "$dir/manager" >"$dir/audit" || { cat "$dir/audit"; exit 1; }
    echo "arm: armhf: $before results before 2038-01-19T03:14:08Z and $(results "\$1 > $end_ms") after it, none missing"
    for pid in $pids; do kill "$pid"; done
    rm -rf "$dir"
    dir= pids=
}

for arch in "$@"; do
    case $arch in
    arm64) emulator=qemu-aarch64-static built=$(sh docs/packaging/static.sh aarch64-unknown-linux-musl) ;;
    *) emulator=qemu-arm-static built=$(sh docs/packaging/cross.sh armhf static) ;;
    esac
    bins=$PWD/target/cross/run-$arch
    mkdir -p "$bins"
    for program in tcpmon-server tcpmon-agent tcpmon-manager; do
        printf '#!/bin/sh\nexec %s %s "$@"\n' "$emulator" "$built/$program" >"$bins/$program"
        chmod 755 "$bins/$program"
        echo "arm: $arch: $("$bins/$program" --version), $(($(wc -c <"$built/$program") / 1024)) KiB"
    done
    if [ "$arch" = armhf ]; then
        past_2038 "$built"
        # Scripts of a simulated fleet are the same on any machine, and slow on this one.
        TCPMON_SEEDS=2 TCPMON_MINUTES=10 TCPMON_CASES=2000 sh docs/packaging/cross.sh armhf static test --lib
    fi
    TCPMON_BINS=$bins cargo test --test it
done
