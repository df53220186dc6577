#!/bin/sh
# Makes all there is to hand out twice, from two clones of the last commit in directories of
# different names, and compares: the same bytes, and nothing of this machine inside:
#   sh tests/dist.sh
# It takes twenty minutes.
set -eu

cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for clone in one another-of-them; do
    git clone -q . "$dir/$clone"
    sh "$dir/$clone/docs/packaging/dist.sh" >"$dir/$clone.sums"
done
cat "$dir/one.sums"
cmp "$dir/one.sums" "$dir/another-of-them.sums"
echo "ok: the same bytes twice"
for file in "$dir"/one/target/dist/*; do
    mkdir "$dir/open"
    case $file in
    *.tar.gz) tar -xzf "$file" -C "$dir/open" ;;
    *.zip) unzip -q "$file" -d "$dir/open" ;;
    *.deb) dpkg-deb -x "$file" "$dir/open" ;;
    esac
    if grep -rlaF -e "$dir" -e "$HOME/" -e "$(rustc --print sysroot)" "$dir/open"; then
        echo "FAILED: $file tells where it was made"
        exit 1
    fi
    rm -r "$dir/open"
done
echo "ok: nothing inside tells where it was made"
