#!/bin/sh
# Installs a package on this Debian, uses it as its manuals say, upgrades it over a changed
# configuration, and removes it:
#   sh tests/deb.sh PACKAGE
# Root, lintian, systemd-analyze. Refuses where tcpmon is installed already.
set -eu

package=${1:?usage: sh tests/deb.sh PACKAGE} failed=0 pids=
if dpkg-query -W -f '${Status}' tcpmon 2>/dev/null | grep -q installed; then
    echo "deb: tcpmon is installed here already"
    exit 1
fi
dir=$(mktemp -d)

finish() {
    status=$?
    trap - EXIT INT TERM HUP
    for pid in $pids; do kill "$pid" 2>/dev/null || :; done
    dpkg --purge tcpmon >/dev/null 2>&1 || :
    rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

check() {
    what=$1
    shift
    if "$@" >"$dir/said" 2>&1; then echo "ok: $what"; else
        echo "FAILED: $what"
        sed 's/^/    /' "$dir/said" | tail -n 20
        failed=1
    fi
}

check "lintian finds no error" lintian --fail-on error "$package"
check "it installs" dpkg -i "$package"
for program in server agent manager; do
    check "tcpmon-$program runs" "tcpmon-$program" --version
    check "tcpmon-$program has a manual" man -w "tcpmon-$program"
done
check "the fleet file has a manual" man -w tcpmon-fleet
check "the fleet file is right" tcpmon-manager validate /etc/tcpmon/fleet.json
for unit in tcpmon-agent tcpmon-manager; do
    check "$unit.service is well-formed" sh -c "systemd-analyze verify /lib/systemd/system/$unit.service 2>&1 | grep '^$unit' | grep . && exit 1 || exit 0"
    score=$(systemd-analyze security --offline=true "/lib/systemd/system/$unit.service" | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
    check "$unit.service is exposed by $score, at most 2.0" awk "BEGIN { exit !($score <= 2.0) }"
done

# As the units start them, without systemd: state where it says.
STATE_DIRECTORY=$dir/agent tcpmon-agent --listen 127.0.0.1:0 >"$dir/agent.out" 2>&1 &
pids="$pids $!"
tries=0
until address=$(sed -n 's/^listening on //p' "$dir/agent.out") && [ -n "$address" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "FAILED: the agent listens"; exit 1; }
    sleep 0.1
done
sed "s/127.0.0.1:65432/$address/" /etc/tcpmon/fleet.json >"$dir/fleet.json"
cp "$dir/fleet.json" /etc/tcpmon/fleet.json
STATE_DIRECTORY=$dir/manager tcpmon-manager serve --config /etc/tcpmon/fleet.json >"$dir/manager.out" 2>&1 &
manager=$!
pids="$pids $manager"
stored() { STATE_DIRECTORY=$dir/manager tcpmon-manager export | grep -c '"target":"ssh"'; }
tries=0
until [ "$(stored)" -ge 2 ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { echo "FAILED: results are stored"; exit 1; }
    sleep 0.1
done
echo "ok: results are stored"
before=$(stored)
check "it is upgraded" dpkg --force-confdef --force-confold -i "$package"
check "what was configured stays" cmp "$dir/fleet.json" /etc/tcpmon/fleet.json
check "what was stored stays" [ "$(stored)" -ge "$before" ]
kill "$manager"
check "it is removed" dpkg -r tcpmon
check "its programs are gone" sh -c '! command -v tcpmon-agent'
check "what was configured is kept" test -f /etc/tcpmon/fleet.json
check "it is purged" dpkg --purge tcpmon
check "nothing is left in /etc" test ! -e /etc/tcpmon
exit "$failed"
