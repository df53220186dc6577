#!/bin/sh
# The three programs together, on loopback, in a temporary directory:
#   sh tests/demo.sh RELEASE_DIR
# With a terminal: the live view, until Enter. Without one: 15 seconds of records,
# one JSON object a line. Everything started here ends here, and the directory goes.
set -eu

release=${1:?usage: sh tests/demo.sh RELEASE_DIR}
seconds=15
dir=$(mktemp -d "${TMPDIR:-/tmp}/tcpmon-demo.XXXXXX")
pids=

finish() {
    status=$?
    trap - EXIT INT TERM HUP
    for pid in $pids; do
        kill "$pid" 2>/dev/null || :
    done
    for pid in $pids; do
        wait "$pid" 2>/dev/null || :
    done
    rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

say() { printf '%s\n' "$*" >&2; }

# start NAME PROGRAM ARG...: in the background, its words in NAME.out and NAME.log.
start() {
    name=$1
    shift
    # There before anybody looks: what is started may take a moment to make it.
    : >"$dir/$name.out"
    "$@" >"$dir/$name.out" 2>"$dir/$name.log" &
    pids="$pids $!"
    started=$!
}

# address NAME N: sets $address to the Nth address that NAME says it listens on.
address() {
    address=
    while [ -z "$address" ]; do
        address=$(sed -n "${2}s/^listening on //p" "$dir/$1.out")
        if [ -n "$address" ]; then return; fi
        if ! kill -0 "$started" 2>/dev/null; then
            say "demo: $1 did not start:"
            cat "$dir/$1.log" >&2
            exit 1
        fi
        sleep 0.1 2>/dev/null || sleep 1
    done
}

# Port 0 is a free port. A dropped connection would not show, since the system completes
# the connect before a server sees it; so what fails now and then closes its listener.
start server "$release/tcpmon-server" --quiet \
    --listen 127.0.0.1:0 --listen 127.0.0.1:0 --listen 127.0.0.1:0
address server 1; web=$address
address server 2; mail=$address
address server 3; camera=$address
# Down long enough to be told as down, and changing too often to be told each time.
start restarting "$release/tcpmon-server" --quiet --listen 127.0.0.1:0 --flap 15s,6s
address restarting 1; restarting=$address
start flapping "$release/tcpmon-server" --quiet --listen 127.0.0.1:0 --flap 3s,2s
address flapping 1; flapping=$address
start agent "$release/tcpmon-agent" --listen 127.0.0.1:0 --name demo --data "$dir/agent"
address agent 1; agent=$address

# Nothing listens on port 1 (tcpmux) of a host of this century.
cat >"$dir/fleet.json" <<EOF
{
  "agents":   [ { "name": "demo", "address": "$agent" } ],
  "defaults": { "interval": "1s" },
  "targets":  [ { "name": "web", "address": "$web" },
                { "name": "mail", "address": "$mail" },
                { "name": "camera", "address": "$camera", "interval": "2s" },
                { "name": "restarting", "address": "$restarting" },
                { "name": "flapping", "address": "$flapping" },
                { "name": "refused", "address": "127.0.0.1:1", "interval": "2s" } ]
}
EOF

# Not a function: in the background that would be a shell around the manager, to be killed instead of it.
set -- "$release/tcpmon-manager" watch --config "$dir/fleet.json" --data "$dir/manager" --http 127.0.0.1:0

if [ -t 0 ] && [ -t 1 ]; then
    "$@"
    say "demo: all of it has ended"
else
    say "demo: $seconds seconds of records (on a terminal: the live view, until Enter)"
    "$@" &
    pids="$pids $!"
    started=$!
    while [ "$seconds" -gt 0 ] && kill -0 "$started" 2>/dev/null; do
        sleep 1
        seconds=$((seconds - 1))
    done
fi
