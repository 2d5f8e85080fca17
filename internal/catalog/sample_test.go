package catalog_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
)

// sampled loads a catalog of one messenger with those lines of traffic, and its samples.
func sampled(t *testing.T, traffic, labels string) (*catalog.Catalog, *catalog.Samples, error) {
	t.Helper()
	fsys := fstest.MapFS{
		"apps/pigeon.yaml": {Data: []byte("id: pigeon\nname: Pigeon\nsources: [\"docs.example, 2026-11\"]\ntraffic:\n  - {id: coo, transport: tcp, decoder: http, confidence: high" +
			traffic + "}\n")},
		"samples/pigeon/labels.yaml": {Data: []byte(labels)},
	}
	c, err := catalog.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	s, err := catalog.LoadSamples(fsys)
	return c, s, err
}

// TestLintSamples: each signature has a sample or says why not, and a day by which it is looked at again.
func TestLintSamples(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ name, traffic, labels, want string }{
		{"sample and day", `, sample: pigeon/a.pcap, review_by: 2027-01-01`, "", "[]"},
		{"reason and day", `, no_sample: "never seen", review_by: 2026-11-25`, "", "[]"},
		{"neither", `, review_by: 2027-01-01`, "", "names no sample, and no_sample does not say why"},
		{"both", `, sample: a.pcap, no_sample: "x", review_by: 2027-01-01`, "", "names a sample and says why there is none"},
		{"no day", `, sample: a.pcap`, "", "has no review_by"},
		{"the day is past", `, sample: a.pcap, review_by: 2026-11-23`, "", "warning: traffic:coo: was to be looked at again by 2026-11-23"},
		{"nobody's", `, sample: a.pcap, review_by: 2027-01-01`, `captures: [{file: a.pcap, made: "by hand, 2026-11", also: [dove]}]`, "a messenger that the catalog does not know"},
	} {
		cat, s, err := sampled(t, c.traffic, c.labels)
		if err != nil {
			t.Fatal(err)
		}
		got := cat.LintSamples(s, now)
		if text := fmt.Sprint(got); !strings.Contains(text, c.want) || len(got) > 1 {
			t.Errorf("%s: %s, want %q", c.name, text, c.want)
		}
	}
}

// TestLabels: a label is strict, names a file beside it, and says how and when it was made.
func TestLabels(t *testing.T) {
	for _, c := range []struct{ labels, want string }{
		{`captures: [{file: a.pcap, made: "by hand, 2026-11"}]`, ""},
		{``, ""},
		{`captures: [{file: a.pcap}]`, "does not say how it was made"},
		{`captures: [{file: ../a.pcap, made: "2026-11"}]`, "is not the name of a file beside it"},
		{`captures: [{file: .hidden, made: "2026-11"}]`, "is not the name of a file beside it"},
		{`programs: [{made: "2026-11"}]`, "is not the name of a file beside it"},
		{`captures: [{file: a.pcap, mode: x}]`, `labels.yaml:1:27: unknown field "mode"`},
		{`captures: [{file: a.pcap, made: "2026-11", flows: [{confidence: certain}]}]`, "must be low, medium, high or exact"},
	} {
		_, _, err := sampled(t, "", c.labels)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.labels, err, c.want)
		}
	}
}

// TestExpected: what a signature says is expected of the sample it names, with what the label says.
func TestExpected(t *testing.T) {
	c, s, err := sampled(t, `, service: call, sample: pigeon/a.pcap`, `captures: [{file: a.pcap, made: "2026-11", flows: [{count: 2}]}, {file: b.pcap, made: "2026-11"}]`)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Expected(s)
	if len(got) != 2 || len(got[0].Flows) != 2 || len(got[1].Flows) != 0 || got[0].Flows[1].Fact != "traffic:coo" || got[0].Flows[1].Service != "call" {
		t.Errorf("%+v", got)
	}
	c, s, err = sampled(t, `, sample: "corpus:x__1.pcap"`, "")
	if err != nil {
		t.Fatal(err)
	}
	got = c.Expected(s)
	if file, ok := got[0].Corpus(); len(got) != 1 || !ok || file != "x__1.pcap" || s.Captures != nil {
		t.Errorf("%+v", got)
	}
}

// TestExpectHolds: app, service, strength, server and fact must all be there.
func TestExpectHolds(t *testing.T) {
	f := &event.Flow{App: "pigeon", Service: "call", Confidence: event.High, Server: "192.0.2.1:443"}
	evidence := []event.Evidence{{Fact: "dns name:pigeon.example"}, {Fact: "socket:traffic:coo"}}
	high := catalog.Strength(event.High)
	for _, c := range []struct {
		want catalog.Expect
		ok   bool
	}{
		{catalog.Expect{}, true}, {catalog.Expect{App: "pigeon", Service: "call", Confidence: high, Fact: "name:pigeon.example", Server: "192.0.2.1:443"}, true},
		{catalog.Expect{App: "dove"}, false}, {catalog.Expect{Service: "chat"}, false}, {catalog.Expect{Confidence: catalog.Strength(event.Exact)}, false},
		{catalog.Expect{Fact: "traffic:coo"}, false}, {catalog.Expect{Server: "192.0.2.2:443"}, false},
	} {
		if got := c.want.Holds("pigeon", f, evidence); got != c.ok {
			t.Errorf("%s: %v", c.want.String(), got)
		}
	}
}

// TestSampleIsBounded: a sample that is too large is refused.
func TestSampleIsBounded(t *testing.T) {
	fsys := fstest.MapFS{
		"samples/pigeon/labels.yaml": {Data: []byte(`captures: [{file: a.pcap, made: "2026-11"}]`)},
		"samples/pigeon/a.pcap":      {Data: make([]byte, 600<<10)},
	}
	s, err := catalog.LoadSamples(fsys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(&s.Captures[0]); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
}
