# make demo    play the whole story, then stay up until Ctrl-C (DEMO_ONCE=1: exit with a status)
# make test    set up every peer and run every test
# make check   formatting, vet, linters, figures, generated files
# make bench   measure side by side with the programs of the field
# make samples make the captures of real programs in catalog/samples anew (root, namespaces)
# make package deb and rpm into dist/
# make wine    run the scanner and the fleet's client for Windows under Wine (root, apt)
# make machine install the deb on a Debian that QEMU emulates with its own kernel, and try what the agent promises (root, debootstrap, QEMU)
# make boot    install the deb on a bare Debian that boots in a container, and use it (root, debootstrap, systemd-container)
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO ?= go
LDFLAGS := -s -w -X main.version=$(VERSION)

.PHONY: build demo test test-setup soak check generate bench package boot machine wine clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/chaperone ./cmd/chaperone
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/chaperone-verify ./cmd/chaperone-verify

demo: build
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/chaperone-demo ./cmd/chaperone-demo
	./packaging/peers.sh demo
	./bin/chaperone demo $(if $(DEMO_ONCE),--once)

test-setup:
	./packaging/peers.sh test

test: build test-setup
	CHAPERONE_CI=1 $(GO) test -race -shuffle=on -timeout 40m ./... 2>&1 | ./packaging/failures.sh

soak: build test-setup
	CHAPERONE_CI=1 CHAPERONE_SOAK=1 $(GO) test -race -timeout 4h ./...
	./packaging/fuzz.sh 10m

check:
	./packaging/check.sh

generate:
	$(GO) generate ./...

# CAPTURES and TREE are what recognition and scan are measured on; without captures recognition is left out.
CAPTURES ?= $(or $(CHAPERONE_CORPUS),../shared/corpus)/pcap
TREE ?= /usr/bin

bench: build
	./packaging/peers.sh bench
	$(GO) run ./bench/resolver
	[ ! -d '$(CAPTURES)' ] || $(GO) run ./bench/recognition '$(CAPTURES)'
	$(GO) run ./bench/scan '$(TREE)'
	[ "$$(id -u)" != 0 ] || ./bench/exec/run.sh
	$(GO) test -run xxx -bench . -benchtime 1x -v ./bench/xmpp

# SAMPLES names some of them, as tox or sip/sipp.pcap.
samples:
	./packaging/peers.sh samples
	cd tools/traffic && $(GO) run . samples -o ../../catalog/samples $(SAMPLES)

package: build
	./packaging/package.sh $(VERSION)

boot: package
	./packaging/boot.sh dist/chaperone_*_amd64.deb

# On demand, not part of test: an emulated machine is slow, and it needs a mirror of Debian. MACHINE="--keep DIR --from STEP" tries one step again.
machine:
	./packaging/machine.sh $(MACHINE)

wine:
	command -v wine >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends wine wine64; }
	CHAPERONE_WINE=1 $(GO) test -count=1 -timeout 20m -v -run Wine ./cmd/chaperone/winetest ./cmd/chaperone/fleetcmd ./cmd/chaperone/policies

clean:
	rm -rf bin dist
