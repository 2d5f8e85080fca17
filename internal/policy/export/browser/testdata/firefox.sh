#!/bin/sh
# firefox.sh POLICY PROGRAM ARGUMENT…: run a program in a machine of its own for Firefox: the managed policy (none where POLICY is ""), every
# name that the test opens at this machine, and no other network.
set -eu
policy=$1
shift
mkdir -p /etc/firefox
mount -t tmpfs tmpfs /etc/firefox
if [ -n "$policy" ]; then
  mkdir -p /etc/firefox/policies
  cp "$policy" /etc/firefox/policies/policies.json
fi
mount -t tmpfs tmpfs /run
printf '127.0.0.1 localhost web.whatsapp.com app.slack.com desktop.telegram.org\n' >/run/hosts
mount --bind /run/hosts /etc/hosts
ip link set lo up
exec "$@"
