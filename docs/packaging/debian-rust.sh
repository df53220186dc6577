# Debian's Rust, to be read by a script that stands in the project's directory: unpacked into
# target/cross, installed nowhere. $cache is that directory, $cache/rustc the compiler; with
# its libraries for this machine, arm64 and armhf, and the source of all of them.
cache=$PWD/target/cross
version=1.85.0+dfsg3-1~deb12u3
mkdir -p "$cache/debs" "$cache/lists/partial" "$cache/archives/partial"

# Debian's packages of three architectures, by lists of our own: the system's stay as they are.
apt() {
    apt-get -qq -o Dir::State::lists="$cache/lists" -o Dir::Cache="$cache" -o Dir::Cache::archives="$cache/archives" \
        -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 \
        -o APT::Architectures::=armhf -o APT::Sandbox::User=root "$@"
}

if [ ! -x "$cache/rustc" ] || [ ! -d "$cache/debian/usr/lib/rustlib/src/rust/library" ]; then
    echo "cross: fetching Debian's Rust $version" >&2
    # A mirror that lacks one list may have all that is needed.
    apt update >/dev/null 2>&1 || :
    (cd "$cache/debs" && apt download rustc-web=$version libstd-rust-web-1.85=$version libstd-rust-web-dev=$version \
        libstd-rust-web-dev:arm64=$version libstd-rust-web-dev:armhf=$version rust-web-src=$version libllvm19 libz3-4 2>/dev/null)
    for package in "$cache"/debs/*.deb; do dpkg -x "$package" "$cache/debian"; done
    rm -rf "$cache/debs" "$cache/lists" "$cache/archives"
    mkdir -p "$cache/debian/usr/lib/rustlib/src"
    ln -sfn "../../../src/rustc-${version%%+*}" "$cache/debian/usr/lib/rustlib/src/rust"
    cat >"$cache/rustc.new" <<END
#!/bin/sh
LD_LIBRARY_PATH=$cache/debian/usr/lib/x86_64-linux-gnu exec $cache/debian/usr/bin/rustc "\$@"
END
    chmod 755 "$cache/rustc.new"
    "$cache/rustc.new" --version >&2
    mv "$cache/rustc.new" "$cache/rustc"
fi
