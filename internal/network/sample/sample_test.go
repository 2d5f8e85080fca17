package sample_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	files "github.com/chaperone-im/chaperone/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
	"github.com/chaperone-im/chaperone/internal/network/sample"
)

// corpus returns the folder of captures that cannot be shipped, "" when it is not here.
func corpus() string {
	folder := os.Getenv("CHAPERONE_CORPUS")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "shared", "corpus")
	}
	if _, err := os.Stat(folder); err != nil {
		return ""
	}
	return filepath.Join(folder, "pcap")
}

// TestShippedSamples: the built-in catalog recognises all its samples.
func TestShippedSamples(t *testing.T) {
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	s, err := catalog.LoadSamples(files.Files)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.LintSamples(s, time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)) {
		t.Error(p)
	}
	r, err := sample.Replay(t.Context(), c, s, corpus())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		t.Error(p)
	}
	t.Logf("%d captures replayed, %d flows as expected, %d captures of the corpus absent", r.Captures, r.Flows, r.Absent)
	if r.Captures < 10 || r.Flows < 50 {
		t.Errorf("%d captures, %d flows", r.Captures, r.Flows)
	}
}

// pigeons makes a catalog of two messengers that do not exist, with a sample: a flow of each, and one of none.
func pigeons(t *testing.T, signature, labels string) (*catalog.Catalog, *catalog.Samples) {
	t.Helper()
	var b bytes.Buffer
	w := flowtest.NewWriter(&b, time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC))
	for i, agent := range []string{"Pigeon/1", "Raven/1", "Browser/1"} {
		w.TCP(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(50000+i)), netip.MustParseAddrPort("192.0.2.1:80"),
			flowtest.Chunk{FromClient: true, Data: []byte("GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nUser-Agent: " + agent + "\r\n\r\n")})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	head := "sources: [\"docs.example, 2026-11\"]\nreview_by: 2027-11-30\n"
	fsys := fstest.MapFS{
		"apps/pigeon.yaml":           {Data: []byte("id: pigeon\nname: Pigeon\n" + head + "traffic: [{id: agent, transport: tcp, confidence: high, " + signature + "}]\n")},
		"apps/raven.yaml":            {Data: []byte("id: raven\nname: Raven\n" + head + "traffic: [{id: agent, transport: tcp, decoder: http, match: {agent: \"Raven/*\"}, confidence: high, no_sample: \"it never flew\"}]\n")},
		"samples/pigeon/labels.yaml": {Data: []byte(labels)},
		"samples/pigeon/a.pcapng":    {Data: b.Bytes()},
		"samples/none/a.pcapng":      {Data: b.Bytes()},
	}
	c, err := catalog.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	s, err := catalog.LoadSamples(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// TestReplay: what is not recognised as stated is named, and what is taken for another too.
func TestReplay(t *testing.T) {
	const signature = `decoder: http, match: {agent: "Pigeon/*"}, sample: pigeon/a.pcapng`
	const label = "captures: [{file: a.pcapng, made: \"by hand, 2026-11\""
	for _, c := range []struct {
		name, signature, labels string
		problem                 string // "" for none
	}{
		{"as stated", signature, label + ", also: [raven]}]", ""},
		{"as the label states", signature, label + ", flows: [{app: raven, fact: \"traffic:agent\", confidence: high}]}]", ""},
		{"another messenger in it", signature, label + "}]", "is taken for raven by traffic:agent"},
		{"not there", `decoder: http, match: {agent: "Dove/*"}, sample: pigeon/a.pcapng`, label + ", also: [raven]}]", "0 flows are recognised as pigeon by traffic:agent"},
		{"too few", signature, label + ", also: [raven], flows: [{count: 2}]}]", "1 flows are recognised as"},
		{"not so sure", signature, label + ", also: [raven], flows: [{confidence: exact}]}]", "0 flows are recognised"},
		{"another service", signature, label + ", also: [raven], flows: [{service: call}]}]", "0 flows are recognised as call"},
		{"no such file", `decoder: http, sample: pigeon/b.pcapng, match: {agent: "Pigeon/*"}`, label + ", also: [raven]}]", "samples/pigeon/b.pcapng"},
		{"not there, but not here either", `decoder: http, match: {agent: "Dove/*"}, sample: "corpus:a.pcap"`, label + ", also: [raven]}]", ""},
		{"an unknown decoder", `decoder: carrier, no_sample: "none"`, label + ", also: [raven]}]", `decoder "carrier", which this program does not have`},
		{"an unknown value", `decoder: http, match: {wing: left}, no_sample: "none"`, label + ", also: [raven]}]", `for "wing"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cat, samples := pigeons(t, c.signature, c.labels)
			r, err := sample.Replay(t.Context(), cat, samples, "")
			if err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprint(r.Problems)
			if (len(r.Problems) > 0) != (c.problem != "") || !strings.Contains(text, c.problem) {
				t.Errorf("problems %s, want %q", text, c.problem)
			}
		})
	}
}

// TestInnocentSamples: in a sample of no messenger nothing may be recognised.
func TestInnocentSamples(t *testing.T) {
	c, s := pigeons(t, `decoder: http, match: {agent: "Pigeon/*"}, no_sample: "none"`, "")
	s.Captures = []catalog.Sample{{App: catalog.Innocent, File: "a.pcapng", Made: "by hand, 2026-11"}}
	r, err := sample.Replay(t.Context(), c, s, "")
	if err != nil || len(r.Problems) != 2 {
		t.Errorf("%v, problems %v", err, r.Problems)
	}
}
