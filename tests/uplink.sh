#!/bin/sh
# Two agents in network namespaces of their own, each with an uplink to what both of them
# probe, and a cable to their manager beside it. Shows that an agent which loses its uplink
# is told of once and its targets not at all, and that an outage both agents see is told
# once and in time:
#   sh tests/uplink.sh RELEASE_DIR
# It takes a minute. Needs root, ip and nft. Ends with a table; exit 1 when anything
# in it is not as it should be.
set -eu

release=$(cd "${1:?usage: sh tests/uplink.sh RELEASE_DIR}" && pwd)
targets=8
interval_ms=2000 timeout_ms=1000 retry_ms=500 down_after=3
mgr=tcpmon-mgr-$$ net=tcpmon-net-$$ attic=tcpmon-attic-$$ cellar=tcpmon-cellar-$$
# What is probed has this address, beyond both uplinks. The namespaces are the script's own.
far=10.98.9.1
tools="ip nft"
scenario=uplink
. "$(dirname "$0")/netns-common.sh"

# cable SPACE NUMBER AGENT_SPACE NAME: between two namespaces, 10.NUMBER.1 and .2.
cable() {
    ip -n "$1" link add "$4" type veth peer name "$5" netns "$3"
    ip -n "$1" addr add "$2.1/24" dev "$4"
    ip -n "$3" addr add "$2.2/24" dev "$5"
    ip -n "$1" link set "$4" up
    ip -n "$3" link set "$5" up
}

network() {
    for space in "$mgr" "$net" "$attic" "$cellar"; do
        ip netns add "$space" || die "cannot make a network namespace"
        spaces="$spaces $space"
        ip -n "$space" link set lo up
    done
    ip -n "$net" addr add "$far/32" dev lo
    n=0
    for space in "$attic" "$cellar"; do
        n=$((n + 1))
        cable "$net" "10.98.$n" "$space" "to$n" uplink
        cable "$mgr" "10.97.$n" "$space" "to$n" control
        ip -n "$space" route add "$far/32" via "10.98.$n.1"
    done
}

manager() { "$release/tcpmon-manager" "$@" --config "$dir/fleet.json" --data "$dir/manager"; }

# Each target at a port of its own, each with a server of its own, so that one can go.
server() { start "$net" "server-$1" "$release/tcpmon-server" --quiet --listen "$far:$((19000 + $1))"; }

fleet() {
    cat <<FLEET
{
  "agents":   [ { "name": "attic", "address": "$(listening attic)", "anchors": ["gateway-attic"] },
                { "name": "cellar", "address": "$(listening cellar)", "anchors": ["gateway-cellar"] } ],
  "defaults": { "key_file": "master.key", "interval": "${interval_ms}ms", "timeout": "${timeout_ms}ms", "retry_interval": "${retry_ms}ms",
                "down_after": $down_after, "down_when": "any" },
  "targets":  [ { "name": "gateway-attic", "address": "10.98.1.1:19100", "agents": ["attic"] },
                { "name": "gateway-cellar", "address": "10.98.2.1:19100", "agents": ["cellar"] }$(
        n=0
        while [ "$n" -lt "$targets" ]; do
            printf ',\n                { "name": "target-%d", "address": "%s:%d" }' "$n" "$far" $((19000 + n))
            n=$((n + 1))
        done
    ) ],
  "alerts":   [ { "name": "ops", "run": ["./ops.sh"], "group_wait": "0s" } ]
}
FLEET
}

programs() {
    "$release/tcpmon-manager" keygen --out "$dir/master.key" >/dev/null
    for name in attic cellar; do
        "$release/tcpmon-manager" keygen --agent "$name" --master "$dir/master.key" --out "$dir/$name.key" >/dev/null
    done
    start "$net" gateways "$release/tcpmon-server" --quiet --listen 10.98.1.1:19100 --listen 10.98.2.1:19100
    n=0
    while [ "$n" -lt "$targets" ]; do
        server "$n"
        n=$((n + 1))
    done
    start "$attic" attic "$release/tcpmon-agent" --listen 10.97.1.2:0 --key-file "$dir/attic.key" --data "$dir/data-attic"
    start "$cellar" cellar "$release/tcpmon-agent" --listen 10.97.2.2:0 --key-file "$dir/cellar.key" --data "$dir/data-cellar"
    wait_for 10 "the agent attic" is_listening attic
    wait_for 10 "the agent cellar" is_listening cellar
    cat >"$dir/ops.sh" <<OPS
#!/bin/sh
echo "\$(date +%s%3N) \$TCPMON_SUBJECT" >>"$dir/told"
OPS
    chmod +x "$dir/ops.sh"
    : >"$dir/told"
    fleet >"$dir/fleet.json"
    start "$mgr" manager "$release/tcpmon-manager" serve --config "$dir/fleet.json" --data "$dir/manager"
}

# in_state STATE AGENT: how many targets are so as seen from it.
in_state() { manager status --json | tr '{' '\n' | grep -c "^\"name\":\"$2\",\"state\":\"$1\"" || :; }
all_up() { [ "$(in_state up attic)" -eq $((targets + 1)) ] && [ "$(in_state up cellar)" -eq $((targets + 1)) ]; }

# told PATTERN: how many messages say so.
told() { grep -c "$1" "$dir/told" || :; }
is_told() { [ "$(told "$1")" -gt 0 ]; }
# told_after MS PATTERN: when the first one came, after then.
told_after() { awk -v from="$1" -v pattern="$2" '$0 ~ pattern { print $1 - from; exit }' "$dir/told"; }

network
say "uplink: waiting until $targets targets and a gateway are up from each agent"
programs
wait_for 20 "all up" all_up
sleep 3
check "messages while all is up" "$(wc -l <"$dir/told")" 0 [ "$(wc -l <"$dir/told")" = 0 ]

say "uplink: attic's uplink is cut for 40 s"
ip -n "$net" link set to1 down
cut_at=$(now_ms)
sleep 35
gone=$(in_state unknown attic)
check "cut: attic's targets that it can't tell of" "$gone" "$((targets + 1))" [ "$gone" -eq $((targets + 1)) ]
check "cut: targets up from cellar" "$(in_state up cellar)" "$((targets + 1))" [ "$(in_state up cellar)" -eq $((targets + 1)) ]
check "cut: attic is connected to its manager" "$(grep -c 'attic away' "$dir/manager.log" || :) times away" "0 times away" \
    [ "$(grep -c 'attic away' "$dir/manager.log" || :)" = 0 ]
while [ "$(now_ms)" -lt $((cut_at + 40000)) ]; do rest; done
ip -n "$net" link set to1 up
up_at=$(now_ms)
wait_for 20 "attic has its uplink again" is_told 'attic connected'
wait_for 20 "all up again" all_up
sleep 5
check "cut: messages of targets" "$(told 'target\|gateway')" 0 [ "$(told 'target\|gateway')" = 0 ]
check "cut: messages of attic being cut off" "$(told 'attic cut off')" 1 [ "$(told 'attic cut off')" = 1 ]
check "cut: messages of attic being well again" "$(told 'attic connected')" 1 [ "$(told 'attic connected')" = 1 ]
check "cut: messages in all" "$(wc -l <"$dir/told")" 2 [ "$(wc -l <"$dir/told")" = 2 ]
# Each failure of the anchor takes its timeout, which leaves no time for a recheck before
# the next one is due.
cut_max=$((interval_ms + (down_after - 1) * interval_ms + timeout_ms + 1000))
took=$(told_after "$cut_at" 'attic cut off')
check "cut: told after" "$(seconds "${took:-0}")" "at most $(seconds "$cut_max")" [ "${took:-999999}" -le "$cut_max" ]
note "cut: cable back to being told of it" "$(seconds "$(told_after "$up_at" 'attic connected')")"

say "uplink: a target that both see goes down"
pid=$(ip netns pids "$net" | while read -r pid; do
    if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -- "--listen $far:19003 "; then echo "$pid"; fi
done)
[ -n "$pid" ] || die "the server of target-3 is not to be found"
kill -9 "$pid"
down_at=$(now_ms)
wait_for 20 "target-3 told down" is_told 'target-3 down'
sleep 6
# Both look at it at the same moments, at most an interval after it went.
down_max=$((interval_ms + (down_after - 1) * retry_ms + 1000))
took=$(told_after "$down_at" 'target-3 down')
check "outage seen by both: told after" "$(seconds "$took")" "at most $(seconds "$down_max")" [ "$took" -le "$down_max" ]
first=$(cat "$dir"/manager/history/*/*.jsonl | awk -F'"at":|,"target":"|","ok":' -v from="$down_at" '
    $3 == "target-3" && $4 ~ /^false/ && $2 >= from - 1000 { print $2 }' | sort -n | head -n 1)
took=$(told_after "$first" 'target-3 down')
rule=$((down_after * retry_ms + 1000))
check "outage seen by both: told after its first failure" "$(seconds "$took")" "at most $(seconds "$rule")" [ "$took" -le "$rule" ]
check "outage seen by both: messages" "$(told 'target-3 down')" 1 [ "$(told 'target-3 down')" = 1 ]
check "outage seen by both: messages of anything else" "$(($(wc -l <"$dir/told") - 3))" 0 [ "$(wc -l <"$dir/told")" = 3 ]
# Where the system has four ports to choose from for this end, a probe of one of them that is
# shut soon comes to be connected to itself: once for each, then the port rests for a minute.
own=tcpmon-own-$$
ip netns add "$own"
spaces="$spaces $own"
ip -n "$own" link set lo up
up=$(ip netns exec "$own" sh -c "echo 40000 40003 >/proc/sys/net/ipv4/ip_local_port_range
    for n in \$(seq 1 100); do for port in 40000 40001 40002 40003; do
        $release/tcpmon-agent check -H 127.0.0.1 -p \$port
    done; done" | grep -c OK || :)
check "probes of a shut port that connected to themselves" "$up" 0 [ "$up" = 0 ]
summary
