#!/bin/sh
# Punctuality of one agent, from its records: how far each probe started from its target's
# own grid. Usage: sh tests/bench.sh RELEASE_DIR [SECONDS]
# The part with a black hole needs root, ip and nft: it makes a network namespace of its
# own, and is left out (and said so) elsewhere.
set -eu
bin=$(cd "$1" && pwd)
seconds=${2:-60}
dir=$(mktemp -d)
space=
pids=
stop() {
    for pid in $pids; do kill -9 "$pid" 2>/dev/null || :; done
    [ -z "$space" ] || ip netns del "$space" 2>/dev/null || :
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 1' INT TERM HUP

# targets COUNT INTERVAL_MS DARK_EVERY: a fleet file on stdout
fleet() {
    awk -v n="$1" -v ms="$2" -v dark="$3" 'BEGIN {
        printf "{\"agents\":[{\"name\":\"bench\",\"address\":\"%s\"}],\"targets\":[", "127.0.0.1:65439"
        for (i = 0; i < n; i++) {
            host = (dark && i % dark == 0) ? "127.0.0.66" : "127.0.0." (1 + int(i / 100) % 10)
            printf "%s{\"name\":\"t%d\",\"address\":\"%s:%d\",\"interval\":\"%dms\"}", i ? "," : "", i, host, 19000 + i % 100, ms
        }
        print "]}" }'
}

# lateness INTERVAL_MS NAME: percentiles over the records in the history
lateness() {
    cat "$dir"/manager/history/*/*.jsonl | awk -v ms="$1" '
        /"event":"skip"/ { skipped++ }
        /"ok":/ && !/"why":"timeout"/ {
            split($0, part, /"at":|,"target":"|","ok"/)
            d = (part[2] - first[part[3]] + ms / 2) % ms
            if (!(part[3] in first)) { first[part[3]] = part[2]; d = ms / 2 }
            d -= ms / 2
            if (!(part[3] in least) || d < least[part[3]]) least[part[3]] = d
            n++; name[n] = part[3]; off[n] = d
        }
        END { for (i = 1; i <= n; i++) print off[i] - least[name[i]]; print skipped + 0 > "'"$dir/skipped"'" }' |
        sort -n > "$dir/late"
    awk -v what="$2" -v skipped="$(cat "$dir/skipped")" '{ late[NR] = $1 }
        END { printf "%s: %d probes, lateness p50 %d ms, p99 %d ms, p99.9 %d ms, max %d ms, %d skip records\n",
              what, NR, late[int(NR * 0.5)], late[int(NR * 0.99)], late[int(NR * 0.999)], late[NR], skipped }' "$dir/late"
}

# run NAME INTERVAL_MS: the fleet in $dir/fleet.json for so many seconds
run() {
    in=${space:+ip netns exec $space}
    listen=
    for n in 1 2 3 4 5 6 7 8 9 10; do listen="$listen --listen 127.0.0.$n:19000-19099"; done
    # shellcheck disable=SC2086
    $in "$bin/tcpmon-server" $listen --quiet > "$dir/server" 2>&1 &
    server=$!
    $in "$bin/tcpmon-agent" --listen 127.0.0.1:65439 --data "$dir/agent" > "$dir/agent.out" 2>&1 &
    agent=$!
    pids="$server $agent"
    until grep -q listening "$dir/agent.out"; do sleep 0.1; done
    $in "$bin/tcpmon-manager" serve --config "$dir/fleet.json" --data "$dir/manager" > "$dir/manager.out" 2>&1 &
    manager=$!
    pids="$pids $manager"
    sleep "$seconds"
    if [ -r "/proc/$agent/status" ]; then
        rss=$(awk '/VmHWM/ { print $2 }' "/proc/$agent/status")
        threads=$(awk '/Threads/ { print $2 }' "/proc/$agent/status")
        ticks=$(awk '{ print $14 + $15 }' "/proc/$agent/stat")
        echo "$1: agent peak RSS $rss KiB, $threads threads, $((ticks * 10)) ms of CPU in $seconds s"
    fi
    kill -9 $pids 2>/dev/null || :
    pids=
    lateness "$2" "$1"
    rm -rf "$dir/agent" "$dir/manager"
}

fleet 1000 1000 0 > "$dir/fleet.json"
run "1,000 targets at 1 s" 1000
if [ "$(id -u)" = 0 ] && command -v ip > /dev/null && command -v nft > /dev/null && ip netns add tcpmon-bench 2>/dev/null; then
    space=tcpmon-bench
    ip -n "$space" link set lo up
    ip netns exec "$space" nft -f - <<'RULES'
table inet hole {
    chain in { type filter hook input priority 0; ip daddr 127.0.0.66 drop; }
}
RULES
    fleet 2000 4000 5 > "$dir/fleet.json"
    run "2,000 targets at 4 s, every fifth dark" 4000
else
    echo "the part with a black hole is left out: it needs root, ip and nft"
fi
