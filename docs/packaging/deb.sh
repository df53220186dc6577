#!/bin/sh
# A Debian package of the programs in BINS, built for ARCH against Debian's glibc:
#   sh docs/packaging/deb.sh ARCH BINS OUT
# dpkg-deb alone. What is in /etc is a conffile: dpkg asks before it touches one that was changed.
set -eu

arch=${1:?usage: sh docs/packaging/deb.sh ARCH BINS OUT} bins=$(cd "$2" && pwd) out=$3
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
# The day of the last commit, so that the same sources make the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
export SOURCE_DATE_EPOCH
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
umask 022
make -s install BINS="$bins" PREFIX=/usr SYSCONFDIR=/etc UNITDIR=/lib/systemd/system DESTDIR="$dir"
find "$dir/usr/share/man" -type f -exec gzip -9n {} +
doc=$dir/usr/share/doc/tcpmon
gzip -9n "$doc/CHANGELOG.md" && mv "$doc/CHANGELOG.md.gz" "$doc/changelog.gz"
printf 'tcpmon (%s) stable; urgency=medium\n\n  * See changelog.gz.\n\n -- tcpmon maintainers <tcpmon@example.net>  %s\n' \
    "$version" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.Debian.gz"
{
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: tcpmon\n\nFiles: *\n'
    # The licence as such a file has it: its paragraphs indented, a dot where a line is empty.
    sed -e '1,2d' -e 's/^Copyright (c)/Copyright:/; t' -e '4s/.*/License: Expat/; t' -e 's/^$/./; s/^/ /' docs/LICENSE
} >"$doc/copyright"
mkdir "$dir/DEBIAN"
cat >"$dir/DEBIAN/control" <<END
Package: tcpmon
Version: $version
Architecture: $arch
Maintainer: tcpmon maintainers <tcpmon@example.net>
Section: net
Priority: optional
Installed-Size: $(du -ks "$dir" | cut -f1)
Depends: libc6 (>= 2.36), libgcc-s1
Description: distributed TCP monitor that never loses a result
 Agents probe TCP services from several places and write every result to
 their own disk; a manager gives them their configuration, collects what
 they recorded, alerts, and shows what is up, down or slow, since when and
 why. What was measured while a link was down arrives later.
END
echo /etc/tcpmon/fleet.json >"$dir/DEBIAN/conffiles"
cat >"$dir/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # What runs goes on with the new programs; nothing is started that was not asked for.
    systemctl try-restart tcpmon-agent.service tcpmon-manager.service
fi
END
cat >"$dir/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now tcpmon-agent.service tcpmon-manager.service || true
fi
END
cat >"$dir/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
if [ "$1" = purge ]; then
    rm -rf /var/lib/private/tcpmon-agent /var/lib/private/tcpmon-manager
    rm -f /var/lib/tcpmon-agent /var/lib/tcpmon-manager
fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
END
chmod 755 "$dir/DEBIAN/postinst" "$dir/DEBIAN/prerm" "$dir/DEBIAN/postrm"
(cd "$dir" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
chmod 644 "$dir/DEBIAN/md5sums"
mkdir -p "$out"
dpkg-deb --root-owner-group -Zxz --build "$dir" "$out/tcpmon_${version}_$arch.deb" >/dev/null
echo "$out/tcpmon_${version}_$arch.deb"
