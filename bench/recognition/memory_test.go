package main

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
)

// TestLiveFlowsAreSmall: what a flow takes while it lives, with all that is learned of it. A hundred thousand times that, the program and
// the room that collecting needs are 64 MiB.
func TestLiveFlowsAreSmall(t *testing.T) {
	cat, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	const flows = 30_000
	for name, most := range map[string]uint64{
		"live-silent": 190, "live-udp": 280, "live-tls": 400, "live-half": 680,
		"flood-syn": 190, "flood-stun": 430, "flood-dns": 500,
	} {
		t.Run(name, func(t *testing.T) {
			all := profiles()
			p := all[slices.IndexFunc(all, func(p profile) bool { return p.name == name })]
			var b bytes.Buffer
			if _, err := generate(&b, p, flows); err != nil {
				t.Fatal(err)
			}
			k := classify.New(cat, classify.Options{Report: func(*classify.Finding) {}})
			tracker := flow.NewTracker(k, flow.Limits{})
			k.Reset(name)
			before := inUse()
			if _, err := flow.ReadPart(t.Context(), &b, tracker); err != nil {
				t.Fatal(err)
			}
			after := inUse()
			if tracker.Len() != flows {
				t.Errorf("%d flows live", tracker.Len())
			}
			if each := (after - min(before, after)) / flows; each > most {
				t.Errorf("a flow takes %d bytes, at most %d are good", each, most)
			}
			runtime.KeepAlive(&b)
			tracker.Flush()
		})
	}
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestOwnMemoryIsWatched: of a process that takes memory some is seen, and of one that is gone none.
func TestOwnMemoryIsWatched(t *testing.T) {
	if n := ownOf(os.Getpid()); n <= 0 {
		t.Errorf("this process has %d KiB of its own", n)
	}
	cmd := exec.Command("sh", "-c", "exit 0")
	if err := cmd.Run(); err != nil {
		t.Skip(err)
	}
	if n := ownOf(cmd.Process.Pid); n != 0 {
		t.Errorf("a process that ended has %d KiB", n)
	}
	u, err := run(nil, nil, watchOwn, "sh", "-c", "x=$(head -c 20000000 /dev/zero | tr '\\0' x); sleep 0.1")
	if err != nil || u.own <= 0 || u.own > u.peak {
		t.Errorf("%+v, %v", u, err)
	}
}

// TestPeerIsGivenFewFlows: it keeps all that it sees.
func TestPeerIsGivenFewFlows(t *testing.T) {
	if got := peer(profiles()[0], maxPeer+1); got != "-" {
		t.Errorf("it took %s", got)
	}
}
