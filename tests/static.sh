#!/bin/sh
# The static programs of some targets, built and looked at as they are shipped: no interpreter,
# no path of this machine inside, no larger than docs/packaging/README.md says; they start, and
# look names up in /etc/hosts and in DNS, those of a network namespace of their own:
#   sh tests/static.sh TARGET...
# Other machines' under qemu-user. Root, ip, dnsmasq, readelf. Ends with a table.
set -eu

: "${1:?usage: sh tests/static.sh TARGET...}"
cd "$(dirname "$0")/.."
space=tcpmon-static-$$ port=19300
scenario=static tools="ip dnsmasq readelf qemu-aarch64-static"
. tests/netns-common.sh

# The table's own size of one program, in KiB; another compiler may need up to 6 % more.
column() { case $1 in server) echo 4 ;; agent) echo 5 ;; *) echo 6 ;; esac; }
documented() { awk -F'|' -v target="$1" -v n="$(column "$2")" '$2 ~ "`" target "`" { gsub(/[ ,]/, "", $n); print $n }' docs/packaging/README.md; }
is_as_large() { [ -n "$2" ] && [ "$1" -le $(($2 + $2 * 6 / 100)) ]; }

tells_nothing() { ! strings -a "$1" | grep -qF -e "$PWD" -e "$HOME/" -e "$(rustc --print sysroot)"; }
is_static() { ! readelf -lW "$1" | grep -q INTERP; }
# A probe by name from within.
probed() { ip netns exec "$space" $emulator "$bins/tcpmon-agent" check -H "$1" -p "$port" 2>&1 | sed 's/|.*//'; }
is_ok() { case $1 in "TCP OK"*) ;; *) return 1 ;; esac; }
is_unknown_name() { case $1 in "TCP CRITICAL - Invalid hostname"*) ;; *) return 1 ;; esac; }

names() {
    ip netns add "$space" || die "cannot make a network namespace"
    spaces="$spaces $space"
    ip -n "$space" link set lo up
    mkdir -p "/etc/netns/$space"
    echo "nameserver 127.0.0.53" >"/etc/netns/$space/resolv.conf"
    printf '127.0.0.1 localhost\n127.0.0.5 of-hosts.test\n' >"/etc/netns/$space/hosts"
    start "$space" dnsmasq dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --listen-address=127.0.0.53 --bind-interfaces \
        --local=/of-dns.test/ --address=/of-dns.test/127.0.0.6 --address=/nowhere.test/ --user=root
}

# look TARGET BINS EMULATOR
look() {
    target=$1 bins=$2 emulator=$3
    for program in server agent manager; do
        file=$bins/tcpmon-$program
        kib=$((($(wc -c <"$file") + 1023) / 1024)) told=$(documented "$target" $program)
        check "$target: tcpmon-$program" "$kib KiB" "${told:-none} KiB" is_as_large "$kib" "$told"
        check "  it has no interpreter" "" "" is_static "$file"
        check "  it tells nothing of this machine" "" "" tells_nothing "$file"
        check "  it starts" "$($emulator "$file" --version)" "" $emulator "$file" --help >/dev/null
    done
    began=$(now_ms)
    start "$space" "agent-$target" $emulator "$bins/tcpmon-agent" --listen 127.0.0.1:0 --data "$dir/$target"
    agent=${pids##* }
    until is_listening "agent-$target" || [ $(($(now_ms) - began)) -gt 20000 ]; do :; done
    took=$(($(now_ms) - began))
    note "  the agent listens after, in memory${emulator:+, with the emulator}" \
        "$took ms, $(awk '/^VmRSS/ { printf "%.1f MiB", $2 / 1024 }' "/proc/$agent/status")"
    kill "$agent"
    wait "$agent" 2>/dev/null || :
    start "$space" "server-$target" $emulator "$bins/tcpmon-server" --quiet --listen "0.0.0.0:$port"
    server=${pids##* }
    wait_for 20 "tcpmon-server of $target" is_listening "server-$target"
    for name in hosts dns; do
        said=$(probed "of-$name.test")
        check "  a name of $name" "${said%% -*}" "TCP OK" is_ok "$said"
    done
    said=$(probed nowhere.test)
    check "  a name that is none" "${said#*- }" "" is_unknown_name "$said"
    kill "$server"
    wait "$server" 2>/dev/null || :
}

trap 'rm -rf "/etc/netns/$space"; finish' EXIT
names
for target in "$@"; do
    case $target in
    x86_64-*) emulator= ;;
    aarch64-*) emulator=qemu-aarch64-static ;;
    arm-*) emulator="qemu-arm-static -cpu arm1176" ;;
    armv7-*) emulator=qemu-arm-static ;;
    riscv64gc-*) emulator=qemu-riscv64-static ;;
    *) die "$target: no emulator" ;;
    esac
    case $target in
    *-gnueabihf) bins=$(sh docs/packaging/cross.sh armhf static) ;;
    *) bins=$(sh docs/packaging/static.sh "$target") ;;
    esac
    look "$target" "$bins" "$emulator"
done
summary
