#!/usr/bin/env bash
# tool.sh NAME...: build tools that tools/go.mod pins into bin/tools, unless they are there and newer than the pin.
set -euo pipefail
cd "$(dirname "$0")/../tools"
mkdir -p ../bin/tools
for name in "$@"; do
  [[ ../bin/tools/$name -nt go.mod ]] && continue
  package=$(sed -n "s|^[[:space:]]*\([^ ]*/$name\)\$|\1|p" go.mod)
  [[ -n $package ]] || { echo "tool.sh: tools/go.mod has no tool $name" >&2; exit 1; }
  echo "building $package" >&2
  GOBIN="$PWD/../bin/tools" go install "$package"
  touch "../bin/tools/$name"
done
