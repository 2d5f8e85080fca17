#!/usr/bin/env bash
# fuzz.sh TIME: run every fuzz target for TIME each.
# Go would try for a minute to make each new input smaller, and count no runs meanwhile: some targets did nothing else. 20 tries are enough.
set -euo pipefail
time=${1:-30s}
grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do
  for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/func //'); do
    echo "== $dir $target"
    go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 20x
  done
done
