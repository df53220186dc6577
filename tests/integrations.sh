#!/bin/sh
# What tools of Debian's packages make of tcpmon, on loopback with files of their own in a
# temporary directory:
#   sh tests/integrations.sh RELEASE_DIR
# promtool checks metrics, rules and the example configuration; Prometheus scrapes and alerts
# by them; blackbox_exporter answers the same probes; InfluxDB, VictoriaMetrics and carbon get
# every result, though each is away for a while.
# A tool that is not installed is named and makes the script fail at the end.
set -eu

release=$(cd "${1:?usage: sh tests/integrations.sh RELEASE_DIR}" && pwd)
docs=$(cd "$(dirname "$0")/../docs/integrations" && pwd)
dir=$(mktemp -d) pids= missing= failed=0
chmod 755 "$dir"
# Ports of the script's own.
http=28080 agent=28432 probe=28115 up=28433 nobody=28434 prometheus=28090 blackbox=28116
influx=28086 victoria=28428 carbon=28003

finish() {
    status=$?
    trap - EXIT INT TERM HUP
    for pid in $pids; do kill "$pid" 2>/dev/null || :; done
    for pid in $pids; do wait "$pid" 2>/dev/null || :; done
    rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

# start NAME COMMAND...: in the background, its output in NAME.log, its process in $pid.
start() {
    name=$1
    shift
    "$@" >>"$dir/$name.log" 2>&1 &
    pid=$!
    pids="$pids $pid"
}

# stop PID: ends it and waits.
stop() {
    kill "$1" 2>/dev/null || :
    wait "$1" 2>/dev/null || :
}

# has PROGRAM PACKAGE
has() {
    command -v "$1" >/dev/null 2>&1 && return 0
    missing="$missing $2"
    return 1
}

# within SECONDS WHAT COMMAND...: waits until the command succeeds.
within() {
    left=$(($1 * 5)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            echo "FAILED: waited in vain for $what"
            failed=1
            return 0
        fi
        sleep 0.2
    done
    echo "ok: $what"
}

# same WHAT A B
same() {
    if [ "$2" = "$3" ]; then
        echo "ok: $1 ($2)"
    else
        echo "FAILED: $1: $2 and $3"
        failed=1
    fi
}

get() { curl -fsS --max-time 10 "http://127.0.0.1:$1"; }
answers() { get "$@" >/dev/null; }

start server "$release/tcpmon-server" --quiet --listen 127.0.0.1:$up
start agent "$release/tcpmon-agent" --listen 127.0.0.1:$agent --name attic --data "$dir/agent" \
    --http 127.0.0.1:$probe --allow 127.0.0.0/8
cat >"$dir/fleet.json" <<END
{ "agents": [ { "name": "attic", "address": "127.0.0.1:$agent" } ],
  "defaults": { "interval": "500ms" },
  "targets": [ { "name": "web", "address": "127.0.0.1:$up" }, { "name": "db", "address": "127.0.0.1:$nobody" } ],
  "export": [ { "name": "influx", "influx": "http://127.0.0.1:$influx/write?db=tcpmon" },
              { "name": "victoria", "influx": "http://127.0.0.1:$victoria/write" },
              { "name": "carbon", "graphite": "127.0.0.1:$carbon" } ] }
END
start manager "$release/tcpmon-manager" serve --config "$dir/fleet.json" --data "$dir/manager" --http 127.0.0.1:$http
within 20 "the manager's page" answers "$http/readyz"
within 20 "a target that is down" sh -c "curl -fsS http://127.0.0.1:$http/api/v1/targets/db | grep -q '\"state\":\"down\"'"

if has promtool prometheus; then
    for page in "$http/metrics" "$probe/metrics" "$probe/probe?target=127.0.0.1:$up"; do
        get "$page" >"$dir/page"
        said=$(promtool check metrics <"$dir/page" 2>&1) || said="$said (exit code $?)"
        same "promtool has nothing to say of $page" "$said" ""
    done
    sed -e "s/127.0.0.1:8080/127.0.0.1:$http/; s/127.0.0.1:9115/127.0.0.1:$probe/; s/127.0.0.1:65433/127.0.0.1:$up/" \
        -e "s/: 15s/: 1s/" "$docs/prometheus.yml" >"$dir/prometheus.yml"
    cp "$docs/alerts.yml" "$dir/"
    promtool check config "$dir/prometheus.yml" >"$dir/config" || { cat "$dir/config"; failed=1; }
    start prometheus prometheus --config.file "$dir/prometheus.yml" --storage.tsdb.path "$dir/tsdb" \
        --web.listen-address 127.0.0.1:$prometheus
    query() { curl -fsS "http://127.0.0.1:$prometheus/api/v1/query" --data-urlencode "query=$1" | grep -q '"value":\[[0-9.]*,"'"$2"'"'; }
    within 30 "Prometheus scrapes the manager" query 'up{job="tcpmon-manager"}' 1
    within 30 "Prometheus scrapes the agent" query 'up{job="tcpmon-agent"}' 1
    within 30 "a probe through Prometheus succeeds" query 'probe_success{job="tcp",instance="127.0.0.1:'$up'"}' 1
    within 30 "a target is up there" query 'tcpmon_target_up{target="web"}' 1
    within 30 "an alert fires there" query 'ALERTS{alertname="TcpmonTargetDown",target="db",alertstate="firing"}' 1
    within 30 "a quantile can be worked out" query 'histogram_quantile(0.5, sum by (le) (rate(tcpmon_probe_duration_seconds_bucket[10s]))) > 0 and on () vector(1) > bool 0' '.*'
    # Every expression of the dashboard.
    start dashboard python3 - "$docs/grafana.json" "http://127.0.0.1:$prometheus" <<'END'
import json, sys, urllib.parse, urllib.request
bad = 0
for panel in json.load(open(sys.argv[1]))["panels"]:
    for target in panel.get("targets", []):
        text = target["expr"]
        for name, value in [("$target", ".*"), ("$agent", ".*"), ("$__rate_interval", "1m"), ("$__range", "5m")]:
            text = text.replace(name, value)
        url = sys.argv[2] + "/api/v1/query?" + urllib.parse.urlencode({"query": text})
        try:
            found = json.load(urllib.request.urlopen(url))["data"]["result"]
        except urllib.error.HTTPError as error:
            found, bad = [], 1
            print("refused:", text, error.read().decode())
        print(panel["title"], len(found))
        if not found and panel["title"] not in ("Failures by reason", "Lost SYNs, and ticks without a probe", "Clocks ahead of the manager's"):
            print("nothing:", text)
            bad = 1
sys.exit(bad)
END
    if wait "$pid"; then echo "ok: every panel of the dashboard shows something"; else
        echo "FAILED: the dashboard"; cat "$dir/dashboard.log"; failed=1
    fi
fi

if has prometheus-blackbox-exporter prometheus-blackbox-exporter; then
    printf 'modules:\n  tcp_connect: { prober: tcp, timeout: 5s }\n' >"$dir/blackbox.yml"
    start blackbox prometheus-blackbox-exporter --config.file "$dir/blackbox.yml" --web.listen-address 127.0.0.1:$blackbox
    within 20 "blackbox_exporter" answers "$blackbox/metrics"
    # Names, and values that are not times.
    told() { get "$1/probe?module=tcp_connect&target=$2" | sed -n 's/^\(probe_[a-z_]*\) \(.*\)/\1 \2/p' |
        awk '/_seconds / { print $1; next } { printf "%s %.0f\n", $1, $2 }' | sort; }
    for target in 127.0.0.1:$up 127.0.0.1:$nobody localhost:$up '[::1]:'$nobody; do
        same "the metrics of a probe of $target" "$(told $probe "$target" | tr '\n' ' ')" "$(told $blackbox "$target" | tr '\n' ' ')"
    done
fi

# How many results of web have been stored before a moment, which comes to the second.
stored() { "$release/tcpmon-manager" export --format csv --target web --data "$dir/manager" | tail -n +2 | awk -F, -v until="$1" '$16 < until' | wc -l; }

# away NAME COUNT START...: the receiver is started, ended, started again, and has every
# result then. COUNT tells how many it has before a moment in ms.
away() {
    name=$1 count=$2
    shift 2
    start "$name" "$@"
    first=$pid
    within 60 "$name has results" sh -c "[ \"\$($count 99999999999999)\" -gt 5 ]"
    stop "$first"
    sleep 5
    start "$name" "$@"
    within 90 "$name has no backlog" sh -c "curl -fsS http://127.0.0.1:$http/metrics | grep -q 'tcpmon_export_backlog_records{export=\"$name\"} 0' && curl -fsS http://127.0.0.1:$http/metrics | grep -q 'tcpmon_export_failing{export=\"$name\"} 0'"
    moment=$(($(date +%s) * 1000 - 4000))
    has_all() { [ "$($count "$moment")" -ge 15 ] && [ "$($count "$moment")" -ge "$(stored "$moment")" ]; }
    within 30 "$name has every result of before" has_all
    same "$name's results" "$($count "$moment")" "$(stored "$moment")"
}

if has influxd influxdb; then
    cat >"$dir/influx.conf" <<END
reporting-disabled = true
bind-address = "127.0.0.1:28088"
[meta]
  dir = "$dir/influx/meta"
[data]
  dir = "$dir/influx/data"
  wal-dir = "$dir/influx/wal"
[http]
  bind-address = "127.0.0.1:$influx"
END
    cat >"$dir/count-influx" <<END
#!/bin/sh
curl -fsS -G http://127.0.0.1:$influx/query --data-urlencode "db=tcpmon" --data-urlencode "q=SELECT count(up) FROM tcpmon WHERE target = 'web' AND time < \${1}ms" | sed -n 's/.*,\([0-9]*\)\]\].*/\1/p'
END
    chmod 755 "$dir/count-influx"
    start prepare influxd -config "$dir/influx.conf"
    prepare=$pid
    within 60 "InfluxDB" answers "$influx/ping"
    curl -fsS -X POST http://127.0.0.1:$influx/query --data-urlencode 'q=CREATE DATABASE tcpmon' >/dev/null
    stop "$prepare"
    away influx "$dir/count-influx" influxd -config "$dir/influx.conf"
fi

if has victoria-metrics victoria-metrics; then
    cat >"$dir/count-victoria" <<END
#!/bin/sh
curl -fsS http://127.0.0.1:$victoria/internal/force_flush
curl -fsS -G http://127.0.0.1:$victoria/api/v1/export --data-urlencode 'match[]=tcpmon_up{target="web"}' --data-urlencode "end=\$1" | sed 's/.*"timestamps":\[\([^]]*\)\].*/\1/' | tr ',' '\n' | awk -v until="\$1" '\$1 && \$1 < until' | wc -l
END
    chmod 755 "$dir/count-victoria"
    away victoria "$dir/count-victoria" victoria-metrics -storageDataPath "$dir/victoria" -httpListenAddr 127.0.0.1:$victoria \
        -search.latencyOffset 0s
fi

if has carbon-cache graphite-carbon; then
    mkdir -p "$dir/carbon/conf" "$dir/carbon/storage/log" "$dir/carbon/storage/whisper"
    cat >"$dir/carbon/conf/carbon.conf" <<END
[cache]
STORAGE_DIR = $dir/carbon/storage
CONF_DIR = $dir/carbon/conf
LOG_DIR = $dir/carbon/storage/log
PID_DIR = $dir/carbon
LOCAL_DATA_DIR = $dir/carbon/storage/whisper
USER =
MAX_CREATES_PER_MINUTE = inf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = $carbon
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = 28004
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = 28005
END
    printf '[all]\npattern = .*\nretentions = 1s:1h\n' >"$dir/carbon/conf/storage-schemas.conf"
    start carbon carbon-cache --config "$dir/carbon/conf/carbon.conf" --nodaemon start
    within 60 "carbon has a file of the target" test -s "$dir/carbon/storage/whisper/tcpmon/attic/web/up.wsp"
    within 30 "carbon has no backlog" sh -c "curl -fsS http://127.0.0.1:$http/metrics | grep -q 'tcpmon_export_failing{export=\"carbon\"} 0'"
fi

if [ -n "$missing" ]; then
    echo "missing:$missing"
    failed=1
fi
if [ "$failed" != 0 ]; then
    for log in "$dir"/*.log; do
        echo "== $log"
        tail -n 5 "$log"
    done
fi
exit "$failed"
