#!/usr/bin/env bash
# package.sh VERSION: build the deb and the rpm into dist/.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=${1:?usage: package.sh VERSION}
ARCH=$(go env GOARCH)
# Packages want a number first: anything else is a build between releases.
[[ $VERSION =~ ^v?[0-9] ]] || VERSION=0.0.0~$VERSION
VERSION=${VERSION#v}
export VERSION ARCH
stage=dist/stage
rm -rf "$stage"
mkdir -p "$stage/bin"
for program in chaperone chaperone-verify; do
  CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o "$stage/bin/$program" "./cmd/$program"
done
"$stage/bin/chaperone" reference --man "$stage"
cp packaging/chaperone-verify.1 "$stage"
gzip -9nf "$stage"/*.1
./packaging/tool.sh nfpm
for format in deb rpm; do
  bin/tools/nfpm package --config packaging/nfpm.yaml --packager "$format" --target dist/
done
rm -rf "$stage"
