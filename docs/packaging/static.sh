#!/bin/sh
# The programs fully static and small, for any system of one kind:
#   sh docs/packaging/static.sh TARGET
# x86_64-, aarch64- or riscv64gc-unknown-linux-musl, armv7- or arm-unknown-linux-musleabihf, and
# x86_64-pc-windows-gnu. std is built with them, of it only what they use, without backtraces and
# unwinding. rustup brings its source and musl, and the toolchain's own lld links: no C compiler
# (for Windows it takes Debian's mingw). What rustup cannot fetch comes from elsewhere: compiler
# and source from Debian (debian-rust.sh), musl and a linker with PyPI's zig. Says last where the
# programs are.
set -eu

target=${1:?usage: sh docs/packaging/static.sh TARGET}
cd "$(dirname "$0")/../.."
case $target in
x86_64-unknown-linux-musl) zig="x86_64-linux-musl" ;;
aarch64-unknown-linux-musl) zig="aarch64-linux-musl" ;;
riscv64gc-unknown-linux-musl) zig="riscv64-linux-musl" ;;
armv7-unknown-linux-musleabihf) zig="arm-linux-musleabihf -mcpu=generic+v7a+vfp3d16" ;;
arm-unknown-linux-musleabihf) zig="arm-linux-musleabihf -mcpu=arm1176jzf_s" ;;
x86_64-pc-windows-gnu) zig= ;;
mips*) echo "static: $target: std has no 64-bit atomics there, which the programs need" >&2; exit 2 ;;
*) echo "static: $target: see the head of $0 for what there is" >&2; exit 2 ;;
esac

if said=$(rustup target add "$target" 2>&1 && rustup component add rust-src 2>&1); then
    rustc=$(rustup which rustc) out=$PWD/target/static
    case $target in
    *-windows-gnu) linker=x86_64-w64-mingw32-gcc flags="-C link-arg=-Wl,--no-insert-timestamp" ;;
    *) linker=rust-lld flags="-C force-unwind-tables=no -C link-arg=--pack-dyn-relocs=relr" ;;
    esac
else
    said=$(echo "$said" | grep -m 1 -e '^error' -e 'not found' || echo "$said" | tail -n 1)
    [ -n "$zig" ] || { echo "static: $target: $said" >&2; exit 1; }
    echo "static: with Debian's Rust and zig, for: $said" >&2
    . docs/packaging/debian-rust.sh
    rustc=$cache/rustc out=$cache/static linker=$cache/zig-$target flags="-C force-unwind-tables=no -C link-self-contained=no"
    [ -d "$cache/zig/ziglang" ] || python3 -m pip install -q --no-deps --target "$cache/zig" ziglang==0.13.0.post1 >&2
    printf '#!/bin/sh\nexport ZIG_GLOBAL_CACHE_DIR=%s ZIG_LOCAL_CACHE_DIR=%s\nexec %s cc -target %s "$@"\n' \
        "$cache/zig/cache" "$cache/zig/cache" "$cache/zig/ziglang/zig" "$zig" >"$linker"
    chmod 755 "$linker"
fi
. docs/packaging/remap.sh
variable=CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')
env RUSTC="$(remapped "$rustc" "$out")" RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$out" "${variable}_LINKER=$linker" \
    RUSTFLAGS="-C target-feature=+crt-static $flags" \
    cargo build --profile small --bins --target "$target" -Z build-std=std,panic_abort -Z build-std-features=optimize_for_size >&2
echo "$out/$target/small"
