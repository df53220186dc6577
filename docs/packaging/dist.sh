#!/bin/sh
# All there is to hand out, in target/dist: an archive of static programs for each kind of
# machine, one for Windows, the Debian packages, and SHA256SUMS:
#   sh docs/packaging/dist.sh
# The same commit makes the same bytes, in whatever directory (tests/dist.sh); nothing of the
# machine is inside. Debian with its cross compilers and mingw, rustup, zip.
set -eu

cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
out=$PWD/target/dist
rm -rf "$out"
mkdir -p "$out"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
umask 022

# archive TARGET BINS: what make install puts below the prefix, and the licence.
archive() {
    name=tcpmon-$version-$1
    make -s install BINS="$2" PREFIX=/usr/local SYSCONFDIR=/etc DESTDIR="$dir/installed"
    mv "$dir/installed/usr/local" "$dir/$name"
    rm -r "$dir/installed"
    cp docs/LICENSE "$dir/$name/share/doc/tcpmon/"
    tar -C "$dir" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=gnu -cf - "$name" |
        gzip -9n >"$out/$name.tar.gz"
}

for target in x86_64-unknown-linux-musl aarch64-unknown-linux-musl riscv64gc-unknown-linux-musl arm-unknown-linux-musleabihf; do
    bins=$(sh docs/packaging/static.sh $target)
    archive $target "$bins"
done
# With glibc: seconds of 64 bits (docs/packaging/README.md).
bins=$(sh docs/packaging/cross.sh armhf static)
archive armv7-unknown-linux-gnueabihf "$bins"
for arch in amd64 arm64 armhf; do
    bins=$(sh docs/packaging/cross.sh $arch dynamic)
    sh docs/packaging/deb.sh $arch "$bins" "$out" >&2
done

bins=$(sh docs/packaging/static.sh x86_64-pc-windows-gnu) name=tcpmon-$version-x86_64-pc-windows-gnu
mkdir "$dir/$name"
cp "$bins"/tcpmon-*.exe docs/LICENSE docs/packaging/fleet.json docs/CHANGELOG.md "$dir/$name"
find "$dir/$name" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$dir" && find "$name" -type f | LC_ALL=C sort | TZ=UTC zip -q -X -9 -@ "$out/$name.zip")

(cd "$out" && sha256sum tcpmon* >SHA256SUMS)
cat "$out/SHA256SUMS"
