#!/usr/bin/env bash
# failures.sh: pass on what go test prints, and repeat at the end what failed, with the seed of its package and what the test said.
set -euo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
tee "$log"
grep -qE '^(FAIL|--- FAIL|panic:|WARNING: DATA RACE)' "$log" || exit 0
echo
echo "==== what failed ===="
grep -E '^FAIL[[:space:]]' "$log" || true
# A test's own words are indented below its line; a race and a panic go on for some lines.
awk '/^-test.shuffle/ {seed = $0}
  /^ *--- FAIL|^panic:|^WARNING: DATA RACE/ {if (seed) print seed; seed = ""; show = 60}
  /^(ok|FAIL|PASS|\?|=== |--- (PASS|SKIP))/ {show = 0}
  show-- > 0 {print substr($0, 1, 1000)}' "$log"
exit 1
