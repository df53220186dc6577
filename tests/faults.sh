#!/bin/sh
# A disk that is full or read-only, a directory of somebody else's, few descriptors and few threads, with
# the real programs:
#   sh tests/faults.sh RELEASE_DIR
# Half a minute. Needs root, mount, setpriv and prlimit (util-linux). Exit 1 when anything
# is not as it should be.
set -eu

release=$(cd "${1:?usage: sh tests/faults.sh RELEASE_DIR}" && pwd)
scenario=faults
tools="mount setpriv prlimit"
. "$(dirname "$0")/netns-common.sh"
mounted=

# As finish, and what was mounted is not any more.
unmount() {
    status=$?
    for pid in $pids; do kill -9 "$pid" 2>/dev/null || :; done
    for pid in $pids; do wait "$pid" 2>/dev/null || :; done
    pids=
    [ -z "$mounted" ] || umount "$mounted" || :
    trap - EXIT INT TERM HUP
    [ -z "$dir" ] || rm -rf "$dir"
    exit "$status"
}

trap unmount EXIT

# run NAME PROGRAM ARG...: in the background.
run() {
    name=$1
    shift
    : >"$dir/$name.out"
    "$@" >"$dir/$name.out" 2>"$dir/$name.log" &
    last=$!
    pids="$pids $last"
}

listening() { sed -n 's/^listening on //p' "$dir/$1.out"; }
is_listening() { [ -n "$(listening "$1")" ]; }
said() { grep -q "$2" "$dir/$1.log"; }
probes() { "$release/tcpmon-agent" --status --data "$1" | sed 's/.*"probes":\([0-9]*\).*/\1/'; }
probes_above() { [ "$(probes "$1")" -gt "$2" ]; }
audited() {
    "$release/tcpmon-manager" audit --json --config "$dir/fleet.json" --data "$dir/manager" >"$dir/audit" || return 1
    grep -q '"ok":true' "$dir/audit" && ! grep -q '"to_fetch":[1-9]' "$dir/audit" && grep -q '"stored":[1-9]' "$dir/audit"
}

fleet() {
    awk -v agent="$1" -v server="$2" -v count="$3" 'BEGIN {
        printf "{\"agents\":[{\"name\":\"a\",\"address\":\"%s\"}],\"defaults\":{\"interval\":\"200ms\"},\"targets\":[", agent
        for (i = 0; i < count; i++) printf "%s{\"name\":\"t%d\",\"address\":\"%s\"}", i ? "," : "", i, server
        print "]}"
    }' >"$dir/fleet.json"
}

run server "$release/tcpmon-server" --listen 127.0.0.1:0 --quiet
wait_for 10 "the server" is_listening server

say "a full disk, then room again"
mkdir "$dir/data"
mount -t tmpfs -o size=512k tcpmon-faults "$dir/data"
mounted=$dir/data
run agent "$release/tcpmon-agent" --listen 127.0.0.1:0 --name a --data "$dir/data"
agent=$last
wait_for 10 "the agent" is_listening agent
fleet "$(listening agent)" "$(listening server)" 100
run manager "$release/tcpmon-manager" serve --config "$dir/fleet.json" --data "$dir/manager"
manager=$last
wait_for 20 "probes" probes_above "$dir/data" 100
kill -9 "$manager"
wait_for 60 "the disk to be full" said agent "records wait in memory"
full_at=$(probes "$dir/data")
wait_for 20 "probes all the same" probes_above "$dir/data" $((full_at + 1000))
mount -o remount,size=64m "$dir/data"
wait_for 20 "it to write again" said agent "spool: writing again"

run manager "$release/tcpmon-manager" serve --config "$dir/fleet.json" --data "$dir/manager"
manager=$last
wait_for 30 "everything to be fetched" audited
grep -q '"dropped":0' "$dir/audit" && ! grep -q '"dropped":[1-9]' "$dir/audit" || die "something was dropped"
kill -9 "$agent" "$manager"

say "a disk that may only be read"
wait "$agent" "$manager" 2>/dev/null || :
mount -o remount,ro "$dir/data"
run readonly "$release/tcpmon-agent" --listen 127.0.0.1:0 --name a --data "$dir/data"
wait_for 20 "it to be told" said readonly 'spool: .*: read-only file system; records wait in memory'
mount -o remount,rw "$dir/data"
wait_for 20 "it to write again" said readonly "spool: writing again"
kill -9 "$last"

say "a directory of another owner"
mkdir "$dir/rooted"
chmod 700 "$dir/rooted"
chmod 711 "$dir"
cp "$release/tcpmon-agent" "$dir/tcpmon-agent"
if setpriv --reuid 65534 --regid 65534 --clear-groups "$dir/tcpmon-agent" --listen 127.0.0.1:0 \
    --data "$dir/rooted/a" >"$dir/other.out" 2>"$dir/other.log"; then
    die "it runs in a directory that is not its own"
fi
said other "[Pp]ermission denied" || die "it does not say why"

say "few descriptors"
run small prlimit --nofile=16 "$release/tcpmon-agent" --listen 127.0.0.1:0 --name a --data "$dir/small"
small=$last
wait_for 10 "the agent" is_listening small
rm -rf "$dir/manager"
fleet "$(listening small)" "$(listening server)" 300
run manager "$release/tcpmon-manager" serve --config "$dir/fleet.json" --data "$dir/manager"
wait_for 20 "probes" probes_above "$dir/small" 3000
wait_for 20 "it to be told" said small "too many open files: not probed"
wait_for 30 "everything to be fetched" audited
# What could not be probed is not down: it was not probed, and that is counted.
! said manager " down from" || die "a target is told to be down"
cat "$dir"/manager/history/*/*.jsonl | grep -q '"event":"skip".*"why":"host"' || die "no tick is said to be skipped"

kill -9 "$last" "$small"

say "few threads, then more"
# All of a user's threads count, so a user of its own, who has others at first.
user="setpriv --reuid 65533 --regid 65533 --clear-groups"
others=
for n in 1 2 3; do
    $user sleep 120 &
    pids="$pids $!" others="$others $!"
done
mkdir "$dir/crowded"
chown 65533:65533 "$dir/crowded"
run crowded $user prlimit --nproc=9 "$dir/tcpmon-agent" --listen 127.0.0.1:0 --name a --data "$dir/crowded/a"
wait_for 10 "the agent" is_listening crowded
rm -rf "$dir/manager"
fleet "$(listening crowded)" "$(listening server)" 50
run manager "$release/tcpmon-manager" serve --config "$dir/fleet.json" --data "$dir/manager"
wait_for 20 "it to be told" said crowded 'start probing thread [23]: resource temporarily unavailable'
wait_for 20 "probes all the same" probes_above "$dir/crowded/a" 200
workers_above() { [ "$("$release/tcpmon-agent" --status --data "$1" | sed 's/.*"workers":\([0-9]*\).*/\1/')" -gt "$2" ]; }
for pid in $others; do kill -9 "$pid"; done
wait_for 20 "more threads" workers_above "$dir/crowded/a" 2
wait_for 30 "everything to be fetched" audited

say "$scenario: all as it should be"
