#!/bin/sh
# Makes the user that chaperone runs as, and starts nothing: there is no configuration yet. What runs already goes on with the new program.
set -e
getent group chaperone >/dev/null || groupadd --system chaperone
getent passwd chaperone >/dev/null ||
  useradd --system --gid chaperone --home-dir /var/lib/chaperone --no-create-home --shell /usr/sbin/nologin chaperone
# What root writes there must be readable by the service, and by nobody else.
install -d -o root -g chaperone -m 2750 /etc/chaperone
install -d -o chaperone -g chaperone -m 0750 /var/lib/chaperone
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload

# runs UNIT: it runs, and the administrator did not forbid packages to restart services (policy-rc.d of Debian).
runs() {
  systemctl --quiet is-active "$1" || return 1
  [ ! -x /usr/sbin/policy-rc.d ] || /usr/sbin/policy-rc.d "$1" restart >/dev/null || [ $? != 101 ]
}
# An agent that runs goes on deciding; its worker is started anew, from the new binary.
! systemctl --quiet is-active chaperone-agent.service || systemctl kill --kill-whom=main --signal=USR1 chaperone-agent.service
# The fleet's client and the server are restarted, as packages of Debian are; the server only with a configuration that the new program takes.
! runs chaperone-fleet.service || systemctl try-restart chaperone-fleet.service || true
if runs chaperone.service; then
  if /usr/bin/chaperone config test --config /etc/chaperone/chaperone.yaml; then
    systemctl try-restart chaperone.service || true
  else
    echo "chaperone.service was not restarted and goes on with the program of before: it is not as the new one wants it, see above" >&2
  fi
fi
