#!/usr/bin/env bash
# Makes innocent traffic with real programs in network namespaces, and counts what is taken for a messenger: run.sh [-scale N] [CLASS...]
# Needs root. Installs the programs where it can. Nothing leaves the machine. Takes a quarter of an hour, and 2 GB in the temporary folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
./packaging/peers.sh innocent
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
CGO_ENABLED=0 go build -trimpath -o "$tmp/chaperone" ./cmd/chaperone
(cd tools/traffic && CGO_ENABLED=0 go build -trimpath -o "$tmp/traffic" .)
"$tmp/traffic" innocent -o "${CAPTURES:-$tmp}" -chaperone "$tmp/chaperone" "$@"
