#!/bin/sh
# The package under a real systemd: a Debian in a virtual machine, of which a script installs
# it, sets it up with keys as docs/raspberry-pi.md has it, kills what runs, upgrades, removes:
#   sh tests/systemd.sh PACKAGE
# Root, debootstrap, mke2fs and debugfs (e2fsprogs), qemu-system-x86_64; no KVM is needed. Five
# minutes, of which the Debian takes four; DEBIAN= is a directory where it is kept.
set -eu

package=${1:?usage: sh tests/systemd.sh PACKAGE}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
root=${DEBIAN:-$dir/root}
[ -d "$root/boot" ] || debootstrap --variant=minbase \
    --include=systemd,systemd-sysv,udev,dbus,linux-image-cloud-amd64,iproute2,procps bookworm "$root" >"$dir/log" 2>&1 || { tail "$dir/log"; exit 1; }

echo "127.0.0.1 localhost" >"$root/etc/hosts"
cp "$package" "$root/root/tcpmon.deb"
cat >"$root/root/check.sh" <<'END'
#!/bin/sh
# In the machine: a line for each thing that is as it should be, or is not.
exec >/root/said 2>/root/log
set -x
check() {
    what=$1
    shift
    if "$@" >&2; then echo "ok: $what"; else echo "FAILED: $what"; fi
}
within() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || return 1
        sleep 1
    done
}
manager() { tcpmon-manager "$@" --config /etc/tcpmon/fleet.json --data /var/lib/tcpmon-manager; }
is_up() { [ "$(manager status | grep -c ' up ')" = 2 ]; }
main() { systemctl show "$1" -p MainPID --value; }
is_restarted() { [ "$(systemctl show "$1" -p NRestarts --value)" = 1 ] && systemctl is-active "$1"; }
is_no_account() { ! getent -s files passwd "$(stat -c %u "/proc/$(main "$1")")"; }

check "it installs" dpkg -i /root/tcpmon.deb
cd /etc/tcpmon
tcpmon-manager keygen >&2 && tcpmon-manager keygen --agent vm >&2 && install -m 600 vm.key agent.key && rm vm.key
cat >fleet.json <<FLEET
{ "agents": [ { "name": "vm", "address": "127.0.0.1:65432" } ],
  "defaults": { "interval": "1s", "timeout": "500ms", "key_file": "/run/credentials/tcpmon-manager.service/master.key" },
  "targets": [ { "name": "web", "address": "127.0.0.1:65433" }, { "name": "named", "address": "localhost:65433" } ] }
FLEET
echo "TCPMON_AGENT_ARGS=--listen 0.0.0.0:65432 --key-file /run/credentials/tcpmon-agent.service/agent.key" >/etc/default/tcpmon-agent
for key in agent master; do
    unit=tcpmon-$([ $key = agent ] && echo agent || echo manager)
    mkdir -p "/etc/systemd/system/$unit.service.d"
    printf '[Service]\nLoadCredential=%s.key:/etc/tcpmon/%s.key\n' $key $key >"/etc/systemd/system/$unit.service.d/key.conf"
done
tcpmon-server --quiet --listen 127.0.0.1:65433 >&2 &
systemctl daemon-reload
check "both units start" systemctl enable --now tcpmon-agent tcpmon-manager
check "targets are up, by address and by name" within is_up
for unit in tcpmon-agent tcpmon-manager; do
    check "$unit runs as nobody's account" is_no_account $unit
    kill -9 "$(main $unit)"
    check "$unit comes back when it is killed" within is_restarted $unit
done
check "targets are up again" within is_up
check "the agent can be asked" tcpmon-agent --status --data /var/lib/tcpmon-agent
check "the manager can be asked" manager silence web --for 1h
check "it is upgraded while it runs" dpkg --force-confold -i /root/tcpmon.deb
check "targets are up after that" within is_up
check "nothing is missing, over two runs killed and one upgraded" manager audit
echo "exposure: $(systemd-analyze security tcpmon-agent.service | sed -n 's/.*level for //p')"
check "it is purged" dpkg --purge tcpmon
check "its data is gone" [ -z "$(ls /var/lib/private)" ]
systemctl poweroff
END
chmod 755 "$root/root/check.sh"
printf '[Unit]\nAfter=dbus.service\n[Service]\nType=oneshot\nExecStart=/root/check.sh\n' >"$root/etc/systemd/system/check.service"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf ../check.service "$root/etc/systemd/system/multi-user.target.wants/check.service"
mke2fs -q -t ext4 -d "$root" "$dir/disk" 2G >/dev/null 2>&1
timeout 600 qemu-system-x86_64 -accel tcg -m 768 -nographic -no-reboot -nic none -kernel "$root"/boot/vmlinuz-* -initrd "$root"/boot/initrd.img-* \
    -append "root=/dev/vda rw console=ttyS0 quiet" -drive "file=$dir/disk,format=raw,if=virtio" </dev/null >"$dir/console" 2>&1 || { tail -n 3 "$dir/console"; exit 1; }
debugfs -R "cat /root/said" "$dir/disk" 2>/dev/null | tee "$dir/said"
if grep -q FAILED "$dir/said" || ! grep -q "its data is gone" "$dir/said"; then
    debugfs -R "cat /root/log" "$dir/disk" 2>/dev/null | tail -n 40
    exit 1
fi
