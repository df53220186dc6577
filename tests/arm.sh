#!/bin/sh
# The programs for ARM under qemu-user: built static, started, and put through the whole
# integration suite; on armhf, where a word has 32 bits, the library's tests as well.
#   sh tests/arm.sh ARCH...          arm64, armhf
# See docs/packaging/cross.sh for how they are built.
set -eu

cd "$(dirname "$0")/.."
for arch in "$@"; do
    case $arch in
    arm64) emulator=qemu-aarch64-static ;;
    *) emulator=qemu-arm-static ;;
    esac
    built=$(sh docs/packaging/cross.sh "$arch" static)
    bins=$PWD/target/cross/run-$arch
    mkdir -p "$bins"
    for program in tcpmon-server tcpmon-agent tcpmon-manager; do
        printf '#!/bin/sh\nexec %s %s "$@"\n' "$emulator" "$built/$program" >"$bins/$program"
        chmod 755 "$bins/$program"
        echo "arm: $arch: $("$bins/$program" --version), $(($(wc -c <"$built/$program") / 1024)) KiB"
    done
    if [ "$arch" = armhf ]; then
        # Scripts of a simulated fleet are the same on any machine, and slow on this one.
        TCPMON_SEEDS=2 TCPMON_MINUTES=10 TCPMON_CASES=2000 sh docs/packaging/cross.sh armhf static test --lib
    fi
    TCPMON_BINS=$bins cargo test --test it
done
