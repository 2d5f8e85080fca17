#!/usr/bin/env bash
# Builds what it measures, installs the peer where it can, and compares over one folder: run.sh [FOLDER [TREE]], by default the
# system's programs; TREE, by default /usr, is scanned again. Prints each goal with what was measured, and ends with 1 when one is missed.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-/usr/bin} tree=${2-/usr}
if ! { command -v clamscan && command -v yara; } >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get install -qq -y --no-install-recommends clamav yara >/dev/null
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$tmp/chaperone" ./cmd/chaperone
go run ./bench/scan "$folder" "$tmp/chaperone" ${tree:+"$tree"}
