#!/bin/bash
# boot.sh DEB: boot a bare Debian in a container, install the package, run the service as docs/guide/operate.md says, and look.
# On demand (make boot): it needs root, debootstrap, systemd-container and a mirror of Debian.
set -euo pipefail
DEB=$(realpath "${1:?usage: boot.sh DEB}")
ROOT=$(mktemp -d /var/tmp/chaperone-boot.XXXXXX)
chmod 0755 "$ROOT" # it becomes /, for every user inside
leader() { pgrep -P "$NSPAWN" systemd || true; }
inside() { nsenter -t "$(leader)" -m -u -i -n -p -C env PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
finish() {
  [ -z "${NSPAWN:-}" ] || [ -z "$(leader)" ] || kill -s RTMIN+4 "$(leader)"
  wait
  rm -rf "$ROOT"
}
trap finish EXIT
debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates bookworm "$ROOT" >/dev/null
cp "$DEB" "$ROOT/root/chaperone.deb"
# The container's own filter refuses Landlock, as few real machines do.
systemd-nspawn -q -D "$ROOT" --register=no --keep-unit --private-network \
  --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" -b >/dev/null </dev/null &
NSPAWN=$!
for _ in $(seq 100); do
  [ -n "$(leader)" ] && inside systemctl is-system-running 2>/dev/null | grep -qE "running|degraded" && break
  sleep 0.3
done
inside bash -euxo pipefail <<'SH'
dpkg -i /root/chaperone.deb >/dev/null
chaperone quickstart --data /var/lib/chaperone /etc/chaperone >/dev/null
chown -R chaperone:chaperone /var/lib/chaperone
systemctl enable -q --now chaperone
for _ in $(seq 50); do journalctl -u chaperone -o cat --no-pager | grep -q '"msg":"serving"' && break; sleep 0.2; done
journalctl -u chaperone -o cat --no-pager | grep '"msg":"serving"'
systemctl reload chaperone
systemctl kill -s KILL chaperone
for _ in $(seq 50); do systemctl is-active -q chaperone && break; sleep 0.2; done
systemctl is-active chaperone
# The child that parses foreign formats has all its limits under the unit's own.
mapfile -t limits < <(sed -n '/^CapabilityBoundingSet/,/^LimitNOFILE/{/^[^#]/p}' /usr/lib/systemd/system/chaperone.service | sed 's/^/--property=/')
systemd-run -q --wait --pipe --property=User=chaperone "${limits[@]}" /usr/bin/chaperone scan --json /usr/bin/chaperone-verify 2>&1 | tee /tmp/scan
! grep -q sandbox /tmp/scan
systemd-analyze security --no-pager chaperone | tail -1
systemctl stop chaperone
chaperone verify /var/lib/chaperone
dpkg -r chaperone >/dev/null
test -d /var/lib/chaperone/journal
SH
echo "boot: installed, started, reloaded, killed, restarted, stopped, verified, removed; the record stayed."
