#!/bin/sh
# The programs for ARM, built here and run here under qemu-user:
#   sh tests/arm.sh ARCH...          arm64, armhf
# builds them static with Debian's cross compilers and, where rustup has no such target, with
# Debian's Rust 1.85 (the oldest that is promised), unpacked into target/arm and installed
# nowhere. Then the whole integration suite runs against them, and on armhf, where a word has
# 32 bits, the library's tests as well.
set -eu

cd "$(dirname "$0")/.."
cache=$PWD/target/arm
version=1.85.0+dfsg3-1~deb12u3
mkdir -p "$cache/debs" "$cache/lists/partial" "$cache/archives/partial"

# Debian's packages of three architectures, by lists of our own: the system's stay as they are.
apt() {
    apt-get -qq -o Dir::State::lists="$cache/lists" -o Dir::Cache="$cache" -o Dir::Cache::archives="$cache/archives" \
        -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 \
        -o APT::Architectures::=armhf -o APT::Sandbox::User=root "$@"
}

unpack_rust() {
    [ -x "$cache/rustc" ] && return 0
    echo "arm: fetching Debian's Rust $version"
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
    "$cache/rustc.new" --version
    mv "$cache/rustc.new" "$cache/rustc"
}

# of ARCH: sets target, linker, emulator and variable.
of() {
    case $1 in
    arm64) target=aarch64-unknown-linux-gnu linker=aarch64-linux-gnu-gcc emulator=qemu-aarch64-static ;;
    armhf) target=armv7-unknown-linux-gnueabihf linker=arm-linux-gnueabihf-gcc emulator=qemu-arm-static ;;
    *)
        echo "usage: sh tests/arm.sh arm64|armhf ..."
        exit 2
        ;;
    esac
    variable=CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')
}

# cross CARGO_WORDS...: for the target, static.
cross() {
    env RUSTC="$cache/rustc" CARGO_TARGET_DIR="$cache/build" RUSTFLAGS="-C target-feature=+crt-static" \
        "${variable}_LINKER=$linker" "${variable}_RUNNER=$emulator" cargo "$@" --target "$target"
}

unpack_rust
for arch in "$@"; do
    of "$arch"
    echo "arm: $arch, $("$cache/rustc" --version)"
    cross build --release --bins
    bins=$cache/bins/$arch
    mkdir -p "$bins"
    for program in tcpmon-server tcpmon-agent tcpmon-manager; do
        built=$cache/build/$target/release/$program
        case $(od -A n -t x1 -j 18 -N 2 "$built") in
        *"b7 00"*) [ "$arch" = arm64 ] ;;
        *"28 00"*) [ "$arch" = armhf ] ;;
        *) echo "arm: $built is for another machine"; exit 1 ;;
        esac
        printf '#!/bin/sh\nexec %s %s "$@"\n' "$emulator" "$built" >"$bins/$program"
        chmod 755 "$bins/$program"
        ls -l "$built" | awk -v program="$program" '{ printf "arm: %s: %d KiB\n", program, $5 / 1024 }'
    done
    if [ "$arch" = armhf ]; then
        # Scripts of a simulated fleet are the same on any machine, and slow on this one.
        TCPMON_SEEDS=2 TCPMON_MINUTES=10 TCPMON_CASES=2000 cross test --lib
    fi
    TCPMON_BINS=$bins cargo test --test it
done
