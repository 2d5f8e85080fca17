#!/usr/bin/env bash
# check.sh: formatting, vet, staticcheck, golangci-lint, govulncheck, figures, generated files. Tools are pinned in tools/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
unformatted=$(gofmt -l $(git ls-files '*.go'))
[[ -z $unformatted ]] || { echo "not formatted: $unformatted" >&2; exit 1; }
go vet ./...
# The scanner and the fleet's client build for every system that has machines to scan.
for system in windows/amd64 windows/arm64 darwin/amd64 darwin/arm64; do
  GOOS=${system%/*} GOARCH=${system#*/} CGO_ENABLED=0 go build -o /dev/null ./cmd/chaperone
done
./packaging/tool.sh staticcheck golangci-lint govulncheck
bin/tools/staticcheck ./...
bin/tools/golangci-lint run
if ! bin/tools/govulncheck ./... >bin/govulncheck.txt 2>&1; then
  if grep -q 'Vulnerability #' bin/govulncheck.txt; then cat bin/govulncheck.txt >&2; exit 1; fi
  echo "govulncheck: its database could not be reached; not checked" >&2
fi
[[ ! -x ../shared/tools/figures.sh ]] || ../shared/tools/figures.sh -c ../shared/tools/limits .
go generate ./...
stale=$(git status --porcelain -- docs)
[[ -z $stale ]] || { printf 'generated files are stale: commit the result of make generate\n%s\n' "$stale" >&2; exit 1; }
