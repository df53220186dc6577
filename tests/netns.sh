#!/bin/sh
# An agent that can only dial out, in a network namespace of its own, beside one that
# listens. Shows that it is monitored like the other, that a cable cut for a while leaves
# no hole, and that what crosses the cable is sealed:
#   sh tests/netns.sh RELEASE_DIR
# It takes a minute and a half. Needs root, ip and nft; the sealing is looked at with python3, and left out (and said
# so) without it. Ends with a table; exit 1 when anything in it is not as it should be.
set -eu

release=$(cd "${1:?usage: sh tests/netns.sh RELEASE_DIR}" && pwd)
targets=20
interval_ms=500
# How much later than its interval a result may come before that counts as a hole.
slack_ms=1000
mgr=tcpmon-mgr-$$ pi=tcpmon-pi-$$
# The namespaces are the script's own, so these meet no other network.
mgr_ip=10.99.0.1 pi_ip=10.99.0.2
door=19100
tools="ip nft"
scenario=netns
. "$(dirname "$0")/netns-common.sh"

# Two namespaces and a cable. The pi's firewall lets in what belongs to a connection that
# the pi has made, and nothing else, as NAT does.
network() {
    two_spaces "$mgr" "$mgr_ip" "$pi" "$pi_ip"
    ip netns exec "$pi" nft -f - <<'RULES' || die "cannot set the firewall up (nft with ct)"
table inet nat {
    chain in {
        type filter hook input priority 0; policy drop;
        iif "lo" accept
        ct state established,related accept
        tcp flags syn counter
    }
}
RULES
}

# Copies the payload of each TCP flow, each way, from the pi's end of the cable to a file.
capture() {
    cat >"$dir/capture.py" <<'PYTHON'
import socket, sys
dev, out = sys.argv[1:]
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
tap.bind((dev, 0))
print("ready", flush=True)
while True:
    try:
        frame = tap.recv(1 << 17)
    except OSError:
        continue
    ip = frame[14:]
    if frame[12:14] != b"\x08\x00" or ip[9] != 6:
        continue
    tcp = ip[(ip[0] & 15) * 4:int.from_bytes(ip[2:4], "big")]
    text = tcp[(tcp[12] >> 4) * 4:]
    if text:
        ends = ".".join(map(str, ip[12:16])), int.from_bytes(tcp[:2], "big"), int.from_bytes(tcp[2:4], "big")
        with open("%s/%s-%d-%d" % (out, *ends), "ab") as flow:
            flow.write(text)
PYTHON
    mkdir "$dir/wire"
    start "$pi" capture python3 "$dir/capture.py" cable "$dir/wire"
    wait_for 10 "the capture" grep -q ready "$dir/capture.out"
}

fleet() {
    awk -v n="$targets" -v ms="$interval_ms" -v local="$1" -v door="$pi_ip:$door" 'BEGIN {
        print "{\"agents\":[{\"name\":\"local\",\"address\":\"" local "\"},"
        print " {\"name\":\"pi\",\"dials_in\":true,\"key_file\":\"master.key\"}],"
        print " \"defaults\":{\"interval\":\"" ms "ms\"},"
        print " \"targets\":[{\"name\":\"pi-door\",\"address\":\"" door "\"}"
        for (i = 0; i < n; i++) printf ",\n  {\"name\":\"target-%02d\",\"address\":\"127.0.0.1:%d\"}", i, 19000 + i
        print "]}" }'
}

programs() {
    manager=$release/tcpmon-manager
    last=$((19000 + targets - 1))
    "$manager" keygen --out "$dir/master.key" >/dev/null
    "$manager" keygen --agent pi --master "$dir/master.key" --out "$dir/pi.key" >/dev/null
    start "$mgr" mgr-server "$release/tcpmon-server" --quiet --listen "127.0.0.1:19000-$last"
    start "$pi" pi-server "$release/tcpmon-server" --quiet --listen "127.0.0.1:19000-$last" --listen "$pi_ip:$door"
    start "$mgr" local "$release/tcpmon-agent" --listen 127.0.0.1:0 --data "$dir/local"
    wait_for 10 "the local agent" is_listening local
    fleet "$(listening local)" >"$dir/fleet.json"
    start "$mgr" manager "$manager" serve --config "$dir/fleet.json" --data "$dir/manager" --listen "$mgr_ip:0"
    wait_for 10 "the manager" is_listening manager
    start "$pi" pi "$release/tcpmon-agent" --manager "$(listening manager)" --key-file "$dir/pi.key" --data "$dir/pi"
}

# One JSON object a line.
status() { "$manager" status --json --config "$dir/fleet.json" --data "$dir/manager" | tr '{' '\n'; }
audit() { "$manager" audit --json --config "$dir/fleet.json" --data "$dir/manager" | tr '{' '\n'; }

connected() { status | grep -c "^\"name\":\"$1\",\"connected\":true" || :; }
# in_state STATE AGENT: how many targets are so as seen from it.
in_state() { status | grep -c "^\"name\":\"$2\",\"state\":\"$1\"" || :; }
# Of the pi's own door, as seen from an agent: its state, and why if it is not up.
door_from() {
    status | awk -v row="^\"name\":\"$1\",\"state\"" '/"name":"pi-door"/ { here = 1 } here && $0 ~ row { print; exit }' |
        sed 's/.*"state":"\([a-z]*\)".*"why":"*\([a-z]*\).*/\1 \2/; s/ null$//'
}
all_up() {
    [ "$(connected pi) $(connected local)" = "1 1" ] &&
        [ "$(in_state up pi)" -eq $((targets + 1)) ] && [ "$(in_state up local)" -eq "$targets" ] &&
        [ "$(door_from local)" = "down timeout" ]
}

# sum KEY: over all epochs of all agents.
sum() { audit | sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" | awk '{ n += $1 } END { print n + 0 }'; }
id_of() { status | sed -n "s/^\"name\":\"$1\",\"connected\".*\"id\":\"\([0-9a-f]*\)\".*/\1/p"; }
# results AGENT: "AT TARGET OK" of each result in its history, in order of time.
results() {
    cat "$dir/manager/history/$(id_of "$1")"/*.jsonl |
        awk -F'"at":|,"target":"|","ok":' '/"ok":/ { print $2, $3, substr($4, 1, 4) }' | sort -n
}
# widest AGENT: the widest step between two results of any target, in ms.
widest() {
    results "$1" | awk '$2 in last && $1 - last[$2] > most { most = $1 - last[$2] }
        { last[$2] = $1 } END { print most + 0 }'
}
caught_up() {
    newest=$(results pi | tail -n 1)
    [ -n "$newest" ] && [ "${newest%% *}" -gt "$1" ] && [ "$(sum to_fetch)" = 0 ]
}

# logged FILE AFTER_MS PATTERN: when the first such line after then was logged, in ms; 0 for never.
logged() {
    awk -v after="$2" -v pattern="$3" '$0 ~ pattern {
        split(substr($1, 12, 12), t, ":")
        at = after - after % 86400000 + t[1] * 3600000 + t[2] * 60000 + t[3] * 1000
        if (at < after - 43200000) at += 86400000
        if (at > after + 43200000) at -= 86400000
        if (at >= after) { found = at; exit }
    } END { printf "%.0f\n", found }' "$dir/$1.log"
}
# within MS FROM_MS TO_MS
within() { [ "$3" -gt 0 ] && [ $(($3 - $2)) -le "$1" ]; }
# span FROM_MS TO_MS: as seconds; 0 for TO says that it never came.
span() { if [ "$2" -gt 0 ]; then seconds $(($2 - $1)); else echo "not at all"; fi; }

# cut_cable SECONDS: and what came of it, as rows of the table.
cut_cable() {
    say "netns: the cable is cut for $1 s"
    # Setting one end down takes the other's carrier: nobody is told anything, least of all TCP.
    ip -n "$mgr" link set cable down
    cut_at=$(now_ms)
    # Just before the end: what is said of a pi that nobody can hear.
    sleep $(($1 - 3))
    if [ "$1" -gt 35 ]; then
        away="$(connected pi) connected, $(in_state stale pi) stale"
        check "cut $1 s: the pi and its targets, meanwhile" "$away" "0 connected, $((targets + 1)) stale" \
            [ "$away" = "0 connected, $((targets + 1)) stale" ]
        check "cut $1 s: local's targets up, meanwhile" "$(in_state up local)" "$targets" [ "$(in_state up local)" -eq "$targets" ]
    fi
    sleep $((($1 * 1000 - $(now_ms) + cut_at) / 1000))
    while [ "$(now_ms)" -lt $((cut_at + $1 * 1000)) ]; do rest; done
    ip -n "$mgr" link set cable up
    up_at=$(now_ms)
    say "netns: the cable is back"
    wait_for 45 "the pi connected again, and nothing left to fetch" caught_up "$up_at"
    caught_at=$(now_ms)
    wait_for 10 "all up again" all_up
    sleep 2
    pi_gone=$(logged pi "$cut_at" 'manager .* at .*: ')
    manager_gone=$(logged manager "$cut_at" 'agent pi away')
    pi_back=$(logged pi "$cut_at" 'manager .* connected at')
    manager_back=$(logged manager "$cut_at" 'agent pi connected')
    if [ "$1" -gt 35 ]; then
        check "cut $1 s: the pi noticed after" "$(span "$cut_at" "$pi_gone")" "at most 33 s" within 33000 "$cut_at" "$pi_gone"
        check "cut $1 s: the manager noticed after" "$(span "$cut_at" "$manager_gone")" "at most 33 s" within 33000 "$cut_at" "$manager_gone"
        check "cut $1 s: cable back to the pi's new session" "$(span "$up_at" "$pi_back")" "at most 15 s" within 15000 "$up_at" "$pi_back"
        check "cut $1 s: cable back to the manager telling of it" "$(span "$up_at" "$manager_back")" "at most 15 s" within 15000 "$up_at" "$manager_back"
    else
        note "cut $1 s: the pi noticed after" "$(span "$cut_at" "$pi_gone")"
        note "cut $1 s: the manager noticed after" "$(span "$cut_at" "$manager_gone")"
        [ "$pi_back" = 0 ] || note "cut $1 s: cable back to the pi's new session" "$(span "$up_at" "$pi_back")"
    fi
    note "cut $1 s: cable back to nothing left to fetch" "$(span "$up_at" "$caught_at")"
    stored=$(results pi | awk -v from="$cut_at" -v to="$up_at" '$1 >= from && $1 < to { n++ } END { print n + 0 }')
    least=$(((up_at - cut_at) / interval_ms * (targets + 1) - targets - 1))
    check "cut $1 s: results of the pi in it, stored" "$stored" "$least or more" [ "$stored" -ge "$least" ]
}

# What was copied from the cable: who speaks may be read, and nothing else.
sealing() {
    sessions=$(grep -c 'manager .* connected at' "$dir/pi.log" || :)
    check "sessions" "$sessions" "2 or more" [ "$sessions" -ge 2 ]
    for kind in hello proof; do
        # Not by cat: a flow that was cut in a line would swallow the next one's first.
        count=$(grep -h "^{\"msg\":\"$kind\"" "$dir"/wire/* | wc -l | tr -d ' ')
        check "wire: lines $kind, readable" "$count" "$((sessions * 2)) or more" [ "$count" -ge $((sessions * 2)) ]
    done
    count=$(awk '!/^[{]"msg":"(hello|proof)"/ && /^[A-Za-z0-9+\/=]+$/ { n++ } END { print n + 0 }' "$dir"/wire/*)
    check "wire: lines sealed" "$count" "100 or more" [ "$count" -ge 100 ]
    count=$(awk '!/^[{]"msg":"(hello|proof)"/ && !/^[A-Za-z0-9+\/=]+$/ { n++ } END { print n + 0 }' "$dir"/wire/*)
    check "wire: lines of any other kind" "$count" 0 [ "$count" = 0 ]
    for word in '"msg":"beat"' '"msg":"config"' '"seq":' target- pi-door 127.0.0.1; do
        count=$(cat "$dir"/wire/* | grep -cF -e "$word" || :)
        check "wire: lines with $word" "$count" 0 [ "$count" = 0 ]
    done
    # The same words do stand in what the manager has stored, so they are the right ones.
    count=$(cat "$dir"/manager/history/*/*.jsonl | grep -F -e '"seq":' | grep -cF -e target- || :)
    check "the history: lines with \"seq\": and target-" "$count" "1000 or more" [ "$count" -ge 1000 ]
    note "wire: bytes" "$(cat "$dir"/wire/* | wc -c | tr -d ' ')"
}

network
if command -v python3 >/dev/null 2>&1; then capture; fi

say "netns: waiting until both agents are connected and their targets are up"
began=$(now_ms)
programs
wait_for 15 "both agents connected, $targets targets up from each, the pi not to be dialled" all_up
note "all up after the start" "$(seconds $(($(now_ms) - began)))"
check "dialling the pi" "$(door_from local)" "down timeout" [ "$(door_from local)" = "down timeout" ]
check "the same address from the pi itself" "$(door_from pi)" "up" [ "$(door_from pi)" = "up" ]
dropped=$(ip netns exec "$pi" nft list ruleset | sed -n 's/.*counter packets \([0-9]*\).*/\1/p')
check "connects that the pi's firewall dropped" "$dropped" "1 or more" [ "$dropped" -ge 1 ]
check "agents connected" "$(($(connected pi) + $(connected local)))" 2 [ "$(connected pi)$(connected local)" = 11 ]
check "targets up from the pi" "$(in_state up pi)" "$((targets + 1))" [ "$(in_state up pi)" -eq $((targets + 1)) ]
check "targets up from local (all but the pi's door)" "$(in_state up local)" "$targets" [ "$(in_state up local)" -eq "$targets" ]
sleep 3

# The peer counts as gone after 30 s without a byte (the system's own timers add up to 2 s),
# so a connection may outlive the first cut and cannot outlive the second.
cut_cable 30
cut_cable 40

for agent in pi local; do
    step=$(widest "$agent")
    [ "$step" -gt 0 ] || step=999999 # no two results of one target at all
    check "widest step between results of a target, $agent" "$step ms" "at most $((interval_ms + slack_ms)) ms" \
        [ "$step" -le $((interval_ms + slack_ms)) ]
done
wrong=$(results pi | awk '$3 != "true" { n++ } END { print n + 0 }')
check "failed probes of the pi" "$wrong" 0 [ "$wrong" = 0 ]
false=$(grep -c ' down from pi' "$dir/manager.log" || :)
check "false alarms about the pi's targets" "$false" 0 [ "$false" = 0 ]
for key in missing duplicate dropped to_fetch; do
    count=$(sum "$key")
    check "audit: $key" "$count" 0 [ "$count" = 0 ]
done
count=$(sum stored)
check "audit: stored, both agents" "$count" "1000 or more" [ "$count" -ge 1000 ]
verdict=0
"$manager" audit --config "$dir/fleet.json" --data "$dir/manager" >/dev/null || verdict=$?
check "audit: exit code" "$verdict" 0 [ "$verdict" = 0 ]
if [ -d "$dir/wire" ]; then
    sealing
else
    say "netns: what crosses the cable is not looked at: there is no python3"
fi

summary
