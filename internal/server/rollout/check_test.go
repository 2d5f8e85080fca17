package rollout_test

import (
	"os"
	"testing"
	"testing/fstest"
	"time"

	files "github.com/chaperone-im/chaperone/catalog"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

func TestMain(m *testing.M) {
	sandbox.Child(os.Args, []sandbox.Parser{reveal.Parser()})
	os.Exit(m.Run())
}

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// TestCheckShipped: the built-in catalog passes all of its own test.
func TestCheckShipped(t *testing.T) {
	c, err := rollout.Check(t.Context(), files.Files, "", now)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Problems {
		t.Error(p)
	}
	if c.Captures < 10 || c.Programs < 5 {
		t.Errorf("%d captures, %d programs", c.Captures, c.Programs)
	}
}

// TestCheckFails: each part of the check is heard.
func TestCheckFails(t *testing.T) {
	head := "id: pigeon\nname: Pigeon\nsources: [\"docs.example, 2026-11\"]\nreview_by: 2026-01-01\n"
	fsys := fstest.MapFS{
		"apps/pigeon.yaml":           {Data: []byte(head + "names: {service: [com]}\ntraffic: [{id: coo, transport: tcp, decoder: http, confidence: high, sample: pigeon/a.pcap}]\n")},
		"samples/pigeon/labels.yaml": {Data: []byte("captures: [{file: a.pcap, made: \"by hand, 2026-11\"}]\nprograms: [{file: a.deb, made: \"by hand, 2026-11\"}]\n")},
		"samples/pigeon/a.deb":       {Data: []byte("no package")},
	}
	c, err := rollout.Check(t.Context(), fsys, "", now)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Failed()) != 3 || len(c.Problems) != 4 {
		t.Errorf("problems %v", c.Problems)
	}
	if _, err := rollout.Check(t.Context(), fstest.MapFS{}, "", now); err == nil {
		t.Error("an empty catalog was loaded")
	}
}
