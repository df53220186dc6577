#!/bin/sh
# An agent and what it probes in network namespaces, with a link between them that loses
# connection requests. Shows that a request which is lost once makes a probe late and is told
# as that (retransmit), not as an outage, and that ones which are always lost are an outage,
# told once:
#   sh tests/loss.sh RELEASE_DIR
# It takes a minute. Needs root, ip and nft. Ends with a table; exit 1 when anything
# in it is not as it should be.
set -eu

release=$(cd "${1:?usage: sh tests/loss.sh RELEASE_DIR}" && pwd)
targets=20
mgr=tcpmon-mgr-$$ pi=tcpmon-pi-$$
mgr_ip=10.96.0.1 pi_ip=10.96.0.2
tools="ip nft"
scenario=loss
. "$(dirname "$0")/netns-common.sh"

network() {
    two_spaces "$mgr" "$mgr_ip" "$pi" "$pi_ip"
    ip netns exec "$mgr" nft -f - <<'RULES' || die "cannot set the firewall up"
table inet loss {
    chain in { type filter hook input priority 0; policy accept; }
}
RULES
}

# lose WHICH: connection requests that come to the manager's side; "" for none.
lose() {
    ip netns exec "$mgr" nft flush chain inet loss in
    # shellcheck disable=SC2086
    [ -z "$1" ] || ip netns exec "$mgr" nft add rule inet loss in iif cable tcp flags '&' '(syn|ack)' == syn $1 counter drop
}

fleet() {
    awk -v n="$targets" -v agent="$1" -v at="$mgr_ip" 'BEGIN {
        print "{\"agents\":[{\"name\":\"pi\",\"address\":\"" agent "\",\"key_file\":\"master.key\"}],"
        print " \"defaults\":{\"interval\":\"4s\",\"timeout\":\"3500ms\",\"retries\":0,\"down_after\":2},"
        print " \"targets\":["
        for (i = 0; i < n; i++) printf "%s  {\"name\":\"target-%02d\",\"address\":\"%s:%d\"}", i ? ",\n" : "", i, at, 19000 + i
        print "]}" }'
}

records() { cat "$dir"/manager/history/*/*.jsonl 2>/dev/null; }
# count PATTERN: of the records after the first $skip.
count() { records | tail -n "+$((skip + 1))" | grep -cE -e "$1" || :; }
more_than() { [ "$(count "$1")" -gt "$2" ]; }
audit_ok() {
    "$release/tcpmon-manager" audit --json --config "$dir/fleet.json" --data "$dir/manager" >"$dir/audit" &&
        ! grep -qE '"(missing|duplicate|to_fetch|dropped)":[1-9]' "$dir/audit"
}

network
manager=$release/tcpmon-manager
"$manager" keygen --out "$dir/master.key" >/dev/null
"$manager" keygen --agent pi --master "$dir/master.key" --out "$dir/pi.key" >/dev/null
start "$mgr" server "$release/tcpmon-server" --quiet --listen "$mgr_ip:19000-$((19000 + targets - 1))"
start "$pi" pi "$release/tcpmon-agent" --listen "$pi_ip:0" --key-file "$dir/pi.key" --data "$dir/pi"
wait_for 10 "the agent" is_listening pi
fleet "$(listening pi)" >"$dir/fleet.json"
start "$mgr" manager "$manager" serve --config "$dir/fleet.json" --data "$dir/manager"
skip=0
say "loss: what a connection usually takes is learned"
wait_for 60 "six results of each target" more_than '"ok":true' $((targets * 6))
check "failures without loss" "$(count '"ok":false')" 0 [ "$(count '"ok":false')" = 0 ]
check "told to be sent again, without loss" "$(count '"retransmit":true')" 0 [ "$(count '"retransmit":true')" = 0 ]

say "loss: one request in three is lost"
lose "numgen inc mod 3 == 0"
skip=$(records | wc -l | tr -d ' ')
wait_for 60 "results" more_than '"ok":true' $((targets * 4))
again=$(count '"retransmit":true')
check "failures while one in three is lost" "$(count '"ok":false')" 0 [ "$(count '"ok":false')" = 0 ]
check "told to be sent again" "$again" "at least $((targets / 2))" [ "$again" -ge $((targets / 2)) ]
late=$(records | tail -n "+$((skip + 1))" | grep -E '"retransmit":true' | grep -cvE '"connect_us":[1-9][0-9]{6}' || :)
check "of those, within a second" "$late" 0 [ "$late" = 0 ]
check "alarms" "$(grep -c ' down from' "$dir/manager.log" || :)" 0 [ "$(grep -c ' down from' "$dir/manager.log")" = 0 ]

say "loss: all are lost"
lose ""
lose "numgen inc mod 1 == 0"
skip=$(records | wc -l | tr -d ' ')
wait_for 30 "all to be down" sh -c '[ "$(grep -c " down from pi: connect to .*: timed out" "$1")" -ge "$2" ]' sh "$dir/manager.log" "$targets"
lose ""
wait_for 30 "all to be up" sh -c '[ "$(grep -c " up from pi after" "$1")" -ge "$2" ]' sh "$dir/manager.log" "$targets"
check "told to be down" "$(grep -c ' down from pi' "$dir/manager.log")" "$targets" [ "$(grep -c ' down from pi' "$dir/manager.log")" = "$targets" ]
check "told to be up" "$(grep -c ' up from pi' "$dir/manager.log")" "$targets" [ "$(grep -c ' up from pi' "$dir/manager.log")" = "$targets" ]
check "sessions" "$(grep -c ' connected' "$dir/manager.log")" 1 [ "$(grep -c ' connected' "$dir/manager.log")" = 1 ]
wait_for 30 "everything to be fetched" audit_ok
check "audit: missing, twice, dropped" "none" "none" audit_ok
summary
