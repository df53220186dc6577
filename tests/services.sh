#!/bin/sh
# Presets against the real servers of Debian's packages, each on loopback with a
# configuration of its own in a temporary directory:
#   sh tests/services.sh RELEASE_DIR
# MariaDB counts failed handshakes by host, and not those of loopback, so it gets a network
# namespace of its own (root, ip).
# A server that is not installed is named and makes the script fail at the end.
set -eu

release=$(cd "${1:?usage: sh tests/services.sh RELEASE_DIR}" && pwd)
dir=$(mktemp -d) pids= missing= failed=0 space=
# The namespace is the script's own, so these meet no other network.
near=10.97.0.1 far=10.97.0.2
chmod 755 "$dir"

finish() {
    status=$?
    trap - EXIT INT TERM HUP
    for pid in $pids; do kill "$pid" 2>/dev/null || :; done
    for pid in $pids; do wait "$pid" 2>/dev/null || :; done
    [ -z "$space" ] || ip netns del "$space" || :
    rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

# start NAME COMMAND...: in the background, its output in NAME.log.
start() {
    name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 &
    pids="$pids $!"
}

# target NAME PORT SCRIPT: for the fleet file.
targets=
target() {
    targets="$targets${targets:+,}
  {\"name\":\"$1\",\"address\":\"127.0.0.1:$2\",\"script\":$3}"
}

# has PROGRAM PACKAGE
has() {
    command -v "$1" >/dev/null 2>&1 && return 0
    missing="$missing $2"
    return 1
}

redis() {
    has redis-server redis-server || return 0
    start redis redis-server --port 21379 --bind 127.0.0.1 --save "" --dir "$dir"
    target redis 21379 '"redis"'
}

ssh() {
    has sshd openssh-server || return 0
    ssh-keygen -q -t ed25519 -N "" -f "$dir/host"
    mkdir -p /run/sshd
    start sshd "$(command -v sshd)" -D -e -f /dev/null -h "$dir/host" -p 21022 -o ListenAddress=127.0.0.1 -o PidFile=none
    target ssh 21022 '"ssh"'
}

http() {
    has nginx nginx-light || return 0
    cat >"$dir/nginx.conf" <<CONF
daemon off; pid $dir/nginx.pid; error_log $dir/nginx.err;
events {}
http { access_log off; client_body_temp_path $dir/b; proxy_temp_path $dir/p; fastcgi_temp_path $dir/f; uwsgi_temp_path $dir/u; scgi_temp_path $dir/s;
  server { listen 127.0.0.1:21080; location /health { return 200 "all is well\n"; } location / { return 404; } } }
CONF
    start nginx nginx -c "$dir/nginx.conf" -e "$dir/nginx.err"
    target http 21080 '{"preset":"http","path":"/health","status":200,"body":"all is well"}'
    target http-404 21080 '{"preset":"http","status":404}'
}

tls() {
    has openssl openssl || return 0
    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 2 \
        -keyout "$dir/tls.key" -out "$dir/tls.crt" >"$dir/req.log" 2>&1
    for version in 1_2 1_3; do
        start "tls$version" openssl s_server -quiet -accept "127.0.0.1:2144${version#1_}" "-tls$version" -key "$dir/tls.key" -cert "$dir/tls.crt"
        target "tls$version" "2144${version#1_}" '"tls"'
    done
}

postgres() {
    bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
    if [ -z "$bin" ]; then
        missing="$missing postgresql"
        return 0
    fi
    as="setpriv --reuid=postgres --regid=postgres --clear-groups"
    install -d -o postgres -g postgres "$dir/pg"
    (cd / && $as "$bin/initdb" -D "$dir/pg/data" -A trust >"$dir/initdb.log" 2>&1)
    start postgres $as "$bin/postgres" -D "$dir/pg/data" -p 21432 -h 127.0.0.1 -k ""
    target postgres 21432 '"postgres"'
}

mail() {
    has dovecot "dovecot-imapd dovecot-pop3d" || return 0
    cat >"$dir/dovecot.conf" <<CONF
base_dir = $dir/dovecot
state_dir = $dir/dovecot
log_path = $dir/dovecot.err
protocols = imap pop3
listen = 127.0.0.1
ssl = no
passdb {
  driver = static
  args = nopassword=y
}
service imap-login {
  inet_listener imap {
    port = 21143
  }
  inet_listener imaps {
    port = 0
  }
}
service pop3-login {
  inet_listener pop3 {
    port = 21110
  }
  inet_listener pop3s {
    port = 0
  }
}
CONF
    start dovecot dovecot -F -c "$dir/dovecot.conf"
    target imap 21143 '"imap"'
    target pop3 21110 '"pop3"'
}

ftp() {
    has vsftpd vsftpd || return 0
    mkdir -p /var/run/vsftpd/empty
    printf 'listen=YES\nlisten_address=127.0.0.1\nlisten_port=21021\nbackground=NO\nanonymous_enable=NO\nlocal_enable=YES\nseccomp_sandbox=NO\n' >"$dir/vsftpd.conf"
    start vsftpd vsftpd "$dir/vsftpd.conf"
    target ftp 21021 '"ftp"'
}

smtp() {
    has smtpd opensmtpd || return 0
    printf 'listen on 127.0.0.1 port 21025 hostname mx.invalid\naction "none" maildir "%s/mail"\nmatch for local action "none"\n' "$dir" >"$dir/smtpd.conf"
    start smtpd smtpd -d -f "$dir/smtpd.conf"
    target smtp 21025 '"smtp"'
}

# db SQL
db() { mariadb --no-defaults -S "$dir/db.sock" -N -e "$1"; }

mysql() {
    has mariadbd mariadb-server || return 0
    has ip iproute2 || return 0
    mariadb-install-db --no-defaults --datadir="$dir/db" --user=root --skip-test-db \
        --auth-root-authentication-method=normal >"$dir/db-install.log" 2>&1
    space=tcpmon-db-$$
    ip netns add "$space"
    ip link add "db$$" type veth peer name far netns "$space"
    ip addr add "$near/24" dev "db$$"
    ip link set "db$$" up
    ip -n "$space" addr add "$far/24" dev far
    ip -n "$space" link set far up
    start mariadbd ip netns exec "$space" mariadbd --no-defaults --datadir="$dir/db" --user=root \
        --socket="$dir/db.sock" --port=3306 --bind-address="$far" --performance-schema=ON --host-cache-size=100
    waited=0
    until db "create user root@'%'" 2>/dev/null || [ "$waited" -ge 30 ]; do
        sleep 1
        waited=$((waited + 1))
    done
    for n in 0 1 2 3 4 5 6 7 8 9; do
        targets="$targets${targets:+,}
  {\"name\":\"mysql$n\",\"address\":\"$far:3306\",\"interval\":\"100ms\",\"script\":\"mysql\"}"
    done
}

# After a thousand probes no handshake is counted as failed.
mysql_counts() {
    [ -n "$space" ] || return 0
    probes() { cat "$dir"/manager/history/*/*.jsonl | grep -c '"target":"mysql.*"ok":true' || :; }
    waited=0
    until [ "$(probes)" -ge 1000 ] || [ "$waited" -ge 60 ]; do
        sleep 1
        waited=$((waited + 1))
    done
    counts=$(db "select SUM_CONNECT_ERRORS, COUNT_HANDSHAKE_ERRORS from performance_schema.host_cache where IP = '$near'")
    echo "mysql: $(probes) probes, connect and handshake errors counted against the host: $counts"
    [ "$(probes)" -ge 1000 ] && [ "$(echo "$counts" | tr -d '\t ')" = 00 ] || failed=1
}

redis
ssh
http
tls
postgres
mail
ftp
smtp
mysql

start agent "$release/tcpmon-agent" --listen 127.0.0.1:21001 --data "$dir/agent"
cat >"$dir/fleet.json" <<FLEET
{"agents":[{"name":"local","address":"127.0.0.1:21001"}],"defaults":{"interval":"500ms"},"targets":[$targets
]}
FLEET
start manager "$release/tcpmon-manager" serve --config "$dir/fleet.json" --data "$dir/manager"

status() { "$release/tcpmon-manager" status --json --config "$dir/fleet.json" --data "$dir/manager"; }
up() { status | tr '{' '\n' | grep -c '"name":"[a-z0-9_-]*","address":"[^"]*","state":"up"' || :; }
all=$(printf '%s\n' "$targets" | grep -c '"name"')
waited=0
until [ "$(up)" -eq "$all" ] || [ "$waited" -ge 30 ]; do
    sleep 1
    waited=$((waited + 1))
done
status | tr '{' '\n' | sed -n 's/.*"name":"\([a-z0-9_-]*\)","address":"[^"]*","state":"\([a-z]*\)".*/\1 \2/p' | sort >"$dir/states"
cat "$dir/states"
if [ "$(up)" -ne "$all" ]; then
    failed=1
    cat "$dir"/manager/history/*/*.jsonl | grep '"ok":false' | grep -o '"target":"[^"]*"\|"text":"[^"]*"' | tail -n 20 >&2
fi
mysql_counts
if [ -n "$missing" ]; then
    echo "services: not installed:$missing" >&2
    failed=1
fi
exit "$failed"
