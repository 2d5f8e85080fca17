#!/usr/bin/env bash
# Fetches samples of real files, installs the tools that make seeds where it can, and runs the mutations in the background of everything else:
# run.sh DIR [flags of go run ./bench/mutate]. DIR keeps seeds, state and findings: a run that was stopped goes on. Samples are the test files of
# libarchive (Debian's source package), of Go and of the libraries that read what is mutated; none is part of this repository.
set -euo pipefail
dir=${1:?usage: run.sh DIR [flags]}
shift
cd "$(dirname "$0")/../.."
mkdir -p "$dir/samples"
dir=$(cd "$dir" && pwd)
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v gcab && command -v cpio && command -v zip && command -v wixl && command -v zstd; } >/dev/null; then
  apt-get install -qq -y --no-install-recommends gcab cpio zip wixl zstd xz-utils bzip2 p7zip-full genisoimage squashfs-tools nsis osslsigncode rpm >/dev/null
fi
if [ ! -e "$dir/samples/libarchive" ] && command -v apt-get >/dev/null; then
  apt=$dir/apt
  mkdir -p "$apt/lists/partial" "$apt/cache"
  . /etc/os-release
  echo "deb-src http://deb.debian.org/debian ${VERSION_CODENAME:-stable} main" >"$apt/sources.list"
  options=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache")
  if (cd "$apt" && apt-get "${options[@]}" update && apt-get "${options[@]}" source --download-only libarchive) >&2; then
    mkdir -p "$dir/samples/libarchive"
    tar -xf "$apt"/libarchive_*.orig.tar.?z -C "$dir/samples/libarchive" --wildcards '*/libarchive/test/*.uu' --strip-components=3
  fi
fi
samples=$dir/samples
for folder in archive debug compress; do samples+=,$(go env GOROOT)/src/$folder; done
for module in github.com/bodgit/sevenzip github.com/richardlehane/mscfb github.com/cavaliergopher/rpm; do
  samples+=,$(go list -m -f '{{.Dir}}' "$module")
done
CGO_ENABLED=0 go build -o "$dir/mutate" ./bench/mutate
exec nice -n 19 "$dir/mutate" -samples "$samples" -dir "$dir" "$@"
