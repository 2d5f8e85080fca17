#!/usr/bin/env bash
# check.sh: formatting, vet, staticcheck, golangci-lint, govulncheck, figures, generated files. Tools are pinned in tools/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
unformatted=$(gofmt -l $(git ls-files '*.go'))
[[ -z $unformatted ]] || { echo "not formatted: $unformatted" >&2; exit 1; }
go vet ./...
mkdir -p bin/tools
tool() { [[ -x bin/tools/$1 ]] || (cd tools && GOBIN="$PWD/../bin/tools" go install "$2"); }
tool staticcheck honnef.co/go/tools/cmd/staticcheck
bin/tools/staticcheck ./...
tool golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
bin/tools/golangci-lint run
tool govulncheck golang.org/x/vuln/cmd/govulncheck
if ! bin/tools/govulncheck ./... >bin/govulncheck.txt 2>&1; then
  if grep -q 'Vulnerability #' bin/govulncheck.txt; then cat bin/govulncheck.txt >&2; exit 1; fi
  echo "govulncheck: its database could not be reached; not checked" >&2
fi
[[ ! -x ../shared/tools/figures.sh ]] || ../shared/tools/figures.sh -c ../shared/tools/limits .
go generate ./...
git diff --exit-code -- docs || { echo "generated files are stale: commit the result of make generate" >&2; exit 1; }
