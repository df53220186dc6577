#!/bin/sh
# Installs Debian packages that the suites beside real programs need, without starting any
# service, and without removing any package that they conflict with:
#   sh tests/packages.sh PACKAGE...
# Exit 1, with the reason, where that can't be done: not Debian, not root, no network.
set -eu

lacking=
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || lacking="$lacking $package"
done
[ -n "$lacking" ] || exit 0
cannot() {
    echo "packages: cannot install$lacking: $*"
    exit 1
}
command -v apt-get >/dev/null 2>&1 || cannot "there is no apt-get"
[ "$(id -u)" = 0 ] || cannot "not root"
policy=/usr/sbin/policy-rc.d log=$(mktemp)
ours=
finish() {
    status=$?
    if [ -n "$ours" ]; then rm -f "$policy"; fi
    rm -f "$log"
    exit "$status"
}
trap finish EXIT
if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
# A mirror that lacks one list may have all that is needed.
if ! { timeout 300 apt-get -qq update || :; } >"$log" 2>&1 || ! { timeout 900 apt-get -qq install --no-install-recommends --no-remove -y $lacking; } >>"$log" 2>&1; then
    cannot "$(grep -m 1 '^E:' "$log" || tail -n 1 "$log")"
fi
