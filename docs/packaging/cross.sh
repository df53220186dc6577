#!/bin/sh
# The programs for another architecture, built here:
#   sh docs/packaging/cross.sh arm64|armhf [static|dynamic] [CARGO WORDS...]
# with Debian's cross compilers and Debian's Rust 1.85 (the oldest that is promised), which is
# unpacked into target/cross and installed nowhere. Static unless said: for any Linux, names
# looked up as far as the host has the same glibc; dynamic for Debian 12 and later. With cargo
# words those are run in place of the build. Says last where the programs are.
set -eu

arch=${1:?usage: sh docs/packaging/cross.sh arm64|armhf [static|dynamic] [CARGO WORDS...]} kind=${2:-static}
shift "$(($# < 2 ? $# : 2))"
cd "$(dirname "$0")/../.."
cache=$PWD/target/cross
version=1.85.0+dfsg3-1~deb12u3
mkdir -p "$cache/debs" "$cache/lists/partial" "$cache/archives/partial"

# Debian's packages of three architectures, by lists of our own: the system's stay as they are.
apt() {
    apt-get -qq -o Dir::State::lists="$cache/lists" -o Dir::Cache="$cache" -o Dir::Cache::archives="$cache/archives" \
        -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 \
        -o APT::Architectures::=armhf -o APT::Sandbox::User=root "$@"
}

if [ ! -x "$cache/rustc" ]; then
    echo "cross: fetching Debian's Rust $version" >&2
    # A mirror that lacks one list may have all that is needed.
    apt update >/dev/null 2>&1 || :
    (cd "$cache/debs" && apt download rustc-web=$version libstd-rust-web-1.85=$version libstd-rust-web-dev=$version \
        libstd-rust-web-dev:arm64=$version libstd-rust-web-dev:armhf=$version libllvm19 libz3-4 2>/dev/null)
    for package in "$cache"/debs/*.deb; do dpkg -x "$package" "$cache/root"; done
    rm -rf "$cache/debs" "$cache/lists" "$cache/archives"
    cat >"$cache/rustc.new" <<END
#!/bin/sh
LD_LIBRARY_PATH=$cache/root/usr/lib/x86_64-linux-gnu exec $cache/root/usr/bin/rustc "\$@"
END
    chmod 755 "$cache/rustc.new"
    "$cache/rustc.new" --version >&2
    mv "$cache/rustc.new" "$cache/rustc"
fi

case $arch in
arm64) target=aarch64-unknown-linux-gnu linker=aarch64-linux-gnu-gcc emulator=qemu-aarch64-static machine="b7 00" ;;
armhf) target=armv7-unknown-linux-gnueabihf linker=arm-linux-gnueabihf-gcc emulator=qemu-arm-static machine="28 00" ;;
*) echo "cross: $arch: there are arm64 and armhf" >&2; exit 2 ;;
esac
case $kind in
static) flags="-C target-feature=+crt-static" ;;
dynamic) flags="-C target-feature=-crt-static" ;;
*) echo "cross: $kind: static or dynamic" >&2; exit 2 ;;
esac
variable=CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')
# Nothing of this machine is to be read out of the programs.
flags="$flags --remap-path-prefix=$PWD=tcpmon --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"

[ $# -gt 0 ] || set -- build --release --bins
env RUSTC="$cache/rustc" CARGO_TARGET_DIR="$cache/$kind" RUSTFLAGS="$flags" \
    "${variable}_LINKER=$linker" "${variable}_RUNNER=$emulator" cargo "$@" --target "$target" >&2
bins=$cache/$kind/$target/release
if [ "$1" = build ]; then
    for program in tcpmon-server tcpmon-agent tcpmon-manager; do
        found=$(od -A n -t x1 -j 18 -N 2 "$bins/$program")
        [ "$found" = " $machine" ] || { echo "cross: $bins/$program is for another machine" >&2; exit 1; }
    done
fi
echo "$bins"
