#!/usr/bin/env bash
# Builds what it measures, installs the peer where it can, and compares: run.sh, as root. The peer's own service must not start: it would watch
# this machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
guard=/usr/sbin/policy-rc.d
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if ! command -v fapolicyd >/dev/null && command -v apt-get >/dev/null && [[ ! -e $guard ]]; then
  printf '#!/bin/sh\nexit 101\n' >"$guard"
  chmod 755 "$guard"
  trap 'rm -rf "$tmp" "$guard"' EXIT
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends fapolicyd >/dev/null
fi
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$tmp/chaperone" ./cmd/chaperone
go run ./bench/exec "$tmp/chaperone"
