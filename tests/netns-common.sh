# What the scenarios that need root have in common, most of them in network namespaces. To be
# read by a script that has set $release and $scenario, and $tools to what it needs; it makes
# the namespaces, and all that it starts ends with it.
dir= pids= spaces=

say() { printf '%s\n' "$*" >&2; }

finish() {
    status=$?
    trap - EXIT INT TERM HUP
    for pid in $pids; do kill -9 "$pid" 2>/dev/null || :; done
    for pid in $pids; do wait "$pid" 2>/dev/null || :; done
    for space in $spaces; do ip netns del "$space" || :; done
    [ -z "$dir" ] || rm -rf "$dir"
    exit "$status"
}

die() {
    say "$scenario: $*"
    for log in "$dir"/*.log; do
        [ -s "$log" ] || continue
        say "--- ${log##*/}"
        tail -n 15 "$log" >&2
    done
    exit 1
}

now_ms() { date +%s%3N; }
rest() { sleep 0.1 2>/dev/null || sleep 1; }

needs() {
    lacking=
    [ "$(id -u)" = 0 ] || lacking="$lacking, root"
    for tool in $tools; do
        command -v "$tool" >/dev/null 2>&1 || lacking="$lacking, $tool"
    done
    case $(now_ms) in *[!0-9]*) lacking="$lacking, a date that knows milliseconds (GNU)" ;; esac
    if [ -n "$lacking" ]; then
        say "$scenario: it lacks: ${lacking#, }"
        exit 1
    fi
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds; gives up loudly.
wait_for() {
    give_up=$(($(now_ms) + $1 * 1000))
    what=$2
    shift 2
    until "$@"; do
        [ "$(now_ms)" -lt "$give_up" ] || die "waited in vain: $what"
        rest
    done
}

# start SPACE NAME PROGRAM ARG...: in a namespace and the background; ip becomes the program.
start() {
    space=$1 name=$2
    shift 2
    # There before anybody looks: what is started may take a moment to make it.
    : >"$dir/$name.out"
    ip netns exec "$space" "$@" >"$dir/$name.out" 2>"$dir/$name.log" &
    pids="$pids $!"
}

# two_spaces SPACE IP SPACE IP: two namespaces, and a cable between them.
two_spaces() {
    for space in "$1" "$3"; do
        ip netns add "$space" || die "cannot make a network namespace"
        spaces="$spaces $space"
        ip -n "$space" link set lo up
    done
    ip -n "$1" link add cable type veth peer name cable netns "$3"
    ip -n "$1" addr add "$2/24" dev cable
    ip -n "$3" addr add "$4/24" dev cable
    ip -n "$1" link set cable up
    ip -n "$3" link set cable up
}

listening() { sed -n 's/^listening on //p' "$dir/$1.out" | tail -n 1; }
is_listening() { [ -n "$(listening "$1")" ]; }

seconds() { awk -v ms="$1" 'BEGIN { printf "%.1f s", ms / 1000 }'; }

failed=0
row() { printf '%-51s  %-24s  %-24s  %s\n' "$@" >>"$dir/table"; }
# check WHAT MEASURED WANTED TEST...: a row of the table.
check() {
    what=$1 measured=$2 wanted=$3
    shift 3
    if "$@"; then verdict=ok; else verdict=FAILED failed=$((failed + 1)); fi
    row "$what" "$measured" "$wanted" "$verdict"
}
note() { row "$1" "$2" - -; }

needs
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
dir=$(mktemp -d "${TMPDIR:-/tmp}/tcpmon-netns.XXXXXX")

# The table, and an exit code of 1 when anything in it is not as it should be.
summary() {
    printf '%-51s  %-24s  %-24s  %s\n' what measured wanted ''
    cat "$dir/table"
    if [ "$failed" -gt 0 ]; then die "$failed checks failed"; fi
}
