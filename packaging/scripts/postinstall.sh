#!/bin/sh
# Makes the user that chaperone runs as, and starts nothing: there is no configuration yet.
set -e
getent group chaperone >/dev/null || groupadd --system chaperone
getent passwd chaperone >/dev/null ||
  useradd --system --gid chaperone --home-dir /var/lib/chaperone --no-create-home --shell /usr/sbin/nologin chaperone
# What root writes there must be readable by the service, and by nobody else.
install -d -o root -g chaperone -m 2750 /etc/chaperone
install -d -o chaperone -g chaperone -m 0750 /var/lib/chaperone
[ ! -d /run/systemd/system ] || systemctl daemon-reload
# An agent that runs goes on deciding; its worker is started anew, from the new binary.
[ ! -d /run/systemd/system ] || ! systemctl --quiet is-active chaperone-agent.service || systemctl kill --kill-whom=main --signal=USR1 chaperone-agent.service
