#!/bin/sh
# The programs for one of Debian's architectures, built here:
#   sh docs/packaging/cross.sh amd64|arm64|armhf [static|dynamic] [CARGO WORDS...]
# with Debian's cross compilers, glibc and Rust 1.85, the oldest that is promised
# (debian-rust.sh). Static unless said, dynamic for Debian 12 and later; static ones with musl
# are smaller (static.sh). With cargo words those are run in place of the build. Says last
# where the programs are.
set -eu

arch=${1:?usage: sh docs/packaging/cross.sh amd64|arm64|armhf [static|dynamic] [CARGO WORDS...]} kind=${2:-static}
shift "$(($# < 2 ? $# : 2))"
cd "$(dirname "$0")/../.."
. docs/packaging/debian-rust.sh

case $arch in
amd64) target=x86_64-unknown-linux-gnu linker=gcc emulator=env machine="3e 00" ;;
arm64) target=aarch64-unknown-linux-gnu linker=aarch64-linux-gnu-gcc emulator=qemu-aarch64-static machine="b7 00" ;;
armhf) target=armv7-unknown-linux-gnueabihf linker=arm-linux-gnueabihf-gcc emulator=qemu-arm-static machine="28 00" ;;
*) echo "cross: $arch: there are amd64, arm64 and armhf" >&2; exit 2 ;;
esac
case $kind in
static) flags="-C target-feature=+crt-static" ;;
dynamic) flags="-C target-feature=-crt-static" ;;
*) echo "cross: $kind: static or dynamic" >&2; exit 2 ;;
esac
variable=CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')
. docs/packaging/remap.sh

[ $# -gt 0 ] || set -- build --release --bins
env RUSTC="$(remapped "$cache/rustc" "$cache/remapped")" CARGO_TARGET_DIR="$cache/$kind" RUSTFLAGS="$flags" \
    "${variable}_LINKER=$linker" "${variable}_RUNNER=$emulator" cargo "$@" --target "$target" >&2
bins=$cache/$kind/$target/release
if [ "$1" = build ]; then
    for program in tcpmon-server tcpmon-agent tcpmon-manager; do
        found=$(od -A n -t x1 -j 18 -N 2 "$bins/$program")
        [ "$found" = " $machine" ] || { echo "cross: $bins/$program is for another machine" >&2; exit 1; }
    done
fi
echo "$bins"
