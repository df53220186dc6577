#!/bin/sh
# A rehearsal: breaks what is monitored, and shows each alert arriving, with times:
#   sh tests/drill.sh RELEASE_DIR
# On loopback, in a temporary directory, with ports that are free: a server, two agents, a
# manager with a receiver that is a program, and one that is a webhook where python3 can
# play the server. It takes about half a minute. Ends with a table; exit 1 when an alert is
# late, missing or doubled. Everything started here ends here, and the directory goes.
set -eu

release=$(cd "${1:?usage: sh tests/drill.sh RELEASE_DIR}" && pwd)
# How the targets are probed, in milliseconds, and how many failures make an outage.
interval=2000 retry=500 down_after=3 up_after=2 group_wait=500
# An outage begins at most an interval before it is first seen; then come the rechecks, the
# wait for what belongs together, and a second for everything else.
down_max=$((interval + (down_after - 1) * retry + group_wait + 1000))
up_max=$((interval + (up_after - 1) * retry + group_wait + 1000))
# An agent that is gone has a say for three intervals still.
alone_max=$((down_max + 3 * interval))
# That an agent is away shows when its link breaks; that it is back, with the next try.
away_max=$((group_wait + 2000))
back_max=$((group_wait + 15000))
dir=$(mktemp -d "${TMPDIR:-/tmp}/tcpmon-drill.XXXXXX")
pids=

finish() {
    status=$?
    trap - EXIT INT TERM HUP
    for pid in $pids; do kill -9 "$pid" 2>/dev/null || :; done
    for pid in $pids; do wait "$pid" 2>/dev/null || :; done
    rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

say() { printf '%s\n' "$*"; }

die() {
    say "drill: $*"
    for log in "$dir"/*.log; do
        [ -s "$log" ] || continue
        say "--- ${log##*/}"
        tail -n 15 "$log"
    done
    exit 1
}

# Whole seconds where date knows no better: then limits are a second wider.
if [ "$(date +%N)" != N ] && [ -n "$(date +%N)" ]; then
    now_ms() { date +%s%3N; }
    slack=0
else
    now_ms() { echo $(($(date +%s) * 1000)); }
    slack=1000
fi
rest() { sleep 0.05 2>/dev/null || sleep 1; }

# start NAME PROGRAM ARG...: in the background, its words in NAME.out and NAME.log.
start() {
    name=$1
    shift
    # There before anybody looks: what is started may take a moment to make it.
    : >"$dir/$name.out"
    "$@" >"$dir/$name.out" 2>"$dir/$name.log" &
    started=$!
    pids="$pids $started"
}

# stop PID: as a power cut would.
stop() {
    kill -9 "$1"
    wait "$1" 2>/dev/null || :
    # The number may be another program's by the end.
    left=
    for pid in $pids; do [ "$pid" = "$1" ] || left="$left $pid"; done
    pids=$left
}

# address NAME: sets $address to where NAME says it listens.
address() {
    give_up=$(($(now_ms) + 20000))
    address=
    while [ -z "$address" ]; do
        [ "$(now_ms)" -lt "$give_up" ] || die "$1 did not start"
        address=$(sed -n 's/^listening on //p' "$dir/$1.out")
        rest
    done
}

server() {
    start "$1" "$release/tcpmon-server" --quiet --listen "$2"
    server=$started
}

agent() {
    start "$1" "$release/tcpmon-agent" --listen "$2" --name "$1" --data "$dir/data-$1"
    agent=$started
}

# What a receiver wrote: the time of arrival, and the words.
arrivals() { cat "$dir/$1.got" 2>/dev/null || :; }

bad=0
table=

# expect RECEIVER LIMIT_MS PATTERN: the alert that comes next there; it is timed from $broke.
expect() {
    give_up=$((broke + $2 + slack + 10000))
    while :; do
        found=$(arrivals "$1" | grep "$3" | tail -n +"$(($(count "$1" "$3") + 1))" | head -n 1)
        [ -z "$found" ] || break
        if [ "$(now_ms)" -ge "$give_up" ]; then
            row "$1" "$3" "never" "$2" MISSING
            return
        fi
        rest
    done
    took=$((${found%% *} - broke))
    verdict=ok
    [ "$took" -le $(($2 + slack)) ] || verdict=LATE
    # What came before the break is an earlier alert's double.
    [ "$took" -ge "-$slack" ] || verdict=EARLY
    say "    $(printf '%6s' "$took") ms  $1: ${found#* }"
    seen "$1" "$3"
    row "$1" "${found#* }" "$took ms" "$2" "$verdict"
}

row() {
    [ "$5" = ok ] || bad=$((bad + 1))
    table="$table$(printf '%-8s %-42.42s %9s %9s  %s' "$1" "$2" "$3" "$4 ms" "$5")
"
}

# How many of a kind were waited for already, in files of their own.
count() { cat "$dir/$1.$(printf '%s' "$2" | tr ' ' _).seen" 2>/dev/null | wc -l; }
seen() { echo x >>"$dir/$1.$(printf '%s' "$2" | tr ' ' _).seen"; }

# The webhook's server writes the same lines as the program does.
cat >"$dir/hook.py" <<'PY'
import http.server, json, sys, time
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(sys.argv[1], "a") as got:
            got.write("%d %s\n" % (time.time() * 1000, message["subject"]))
        self.send_response(204)
        self.end_headers()
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
print("listening on 127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
PY
cat >"$dir/notify.sh" <<NOTIFY
#!/bin/sh
$(command -v date >/dev/null && [ "$slack" = 0 ] && echo 'at=$(date +%s%3N)' || echo 'at=$(date +%s)000')
echo "\$at \$TCPMON_SUBJECT" >>"$dir/program.got"
NOTIFY
chmod +x "$dir/notify.sh"

receivers=program
hook=
if command -v python3 >/dev/null 2>&1; then
    start hook python3 "$dir/hook.py" "$dir/webhook.got"
    address hook
    receivers="program webhook"
    hook=", { \"name\": \"webhook\", \"webhook\": \"http://$address/\", \"group_wait\": \"${group_wait}ms\" }"
else
    say "There is no python3 to play a webhook's server: skipped, the program alone is told."
fi

server shop 127.0.0.1:0; shop=$server
address shop; shop_at=$address
server blog 127.0.0.1:0
address blog; blog_at=$address
agent attic 127.0.0.1:0; attic=$agent
address attic; attic_at=$address
agent cellar 127.0.0.1:0
address cellar; cellar_at=$address
cat >"$dir/fleet.json" <<FLEET
{
  "agents":   [ { "name": "attic", "address": "$attic_at" }, { "name": "cellar", "address": "$cellar_at" } ],
  "defaults": { "interval": "${interval}ms", "timeout": "1s", "retry_interval": "${retry}ms", "down_after": $down_after, "up_after": $up_after },
  "targets":  [ { "name": "shop", "address": "$shop_at" }, { "name": "blog", "address": "$blog_at" } ],
  "alerts":   [ { "name": "program", "run": ["./notify.sh"], "group_wait": "${group_wait}ms" }$hook ]
}
FLEET
start manager "$release/tcpmon-manager" serve --config "$dir/fleet.json" --data "$dir/data-manager"
manager=$started
status() { "$release/tcpmon-manager" status --json --config "$dir/fleet.json" --data "$dir/data-manager"; }
give_up=$(($(now_ms) + 20000))
until [ "$(status 2>/dev/null | grep -o '"name":"[a-z]*","state":"up","at":[0-9]' | wc -l)" = 4 ]; do
    [ "$(now_ms)" -lt "$give_up" ] || die "the fleet did not come up"
    rest
done
say "Two agents probe two targets every $interval ms; all is up. Times count from the break."

say "The shop is stopped."
broke=$(now_ms)
stop "$shop"
for to in $receivers; do expect "$to" "$down_max" "shop down"; done

say "The shop is back."
broke=$(now_ms)
server shop-again "$shop_at"; shop=$server
for to in $receivers; do expect "$to" "$up_max" "shop up"; done

say "The agent attic is killed."
broke=$(now_ms)
stop "$attic"
for to in $receivers; do expect "$to" "$away_max" "attic away"; done

say "The shop is stopped while cellar alone can see it."
broke=$(now_ms)
stop "$shop"
for to in $receivers; do expect "$to" "$alone_max" "shop down"; done

say "The manager is killed, the shop comes back, and the manager is started again."
stop "$manager"
server shop-at-last "$shop_at"
address shop-at-last
broke=$(now_ms)
start manager-again "$release/tcpmon-manager" serve --config "$dir/fleet.json" --data "$dir/data-manager"
for to in $receivers; do expect "$to" $((up_max + 1000)) "shop up"; done

say "The agent attic is back."
broke=$(now_ms)
agent attic "$attic_at"
for to in $receivers; do expect "$to" "$back_max" "attic connected"; done

# What comes twice comes late.
sleep 2
for to in $receivers; do
    came=$(arrivals "$to" | wc -l)
    [ "$came" -eq 6 ] || row "$to" "$came messages in all, not 6" - - DOUBLED
done

say
printf '%-8s %-42s %9s %9s\n%s' RECEIVER ALERT AFTER "AT MOST" "$table"
if [ "$bad" -gt 0 ]; then
    die "$bad of these are not as they should be"
fi
say "Every alert arrived once and in time."
