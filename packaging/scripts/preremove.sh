#!/bin/sh
# Stops the service when the package goes, not when it is upgraded: $1 is "remove" (deb) or 0 (rpm) then.
set -e
case "$1" in
remove | 0)
  [ ! -d /run/systemd/system ] || systemctl disable --now chaperone.service chaperone-agent.service chaperone-fleet.service
  # The programs in the kernel have no keeper from now on.
  rm -rf /sys/fs/bpf/chaperone
  ;;
esac
