package rollout_test

import (
	"testing"
	"testing/fstest"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// TestReconsider: names, addresses and hashes are looked up anew; what else spoke counts as long as it stands in the catalog.
func TestReconsider(t *testing.T) {
	const hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	c, err := catalog.Load(fstest.MapFS{"apps/pigeon.yaml": {Data: []byte("id: pigeon\nname: Pigeon\nsources: [\"docs.example, 2026-11\"]\n" +
		"names: {service: [pigeon.example], call: [turn.pigeon.example]}\naddresses: [{cidr: 198.51.100.0/24}]\n" +
		"traffic: [{id: coo, transport: tcp, decoder: http, confidence: high}]\nprograms: {linux: [{deb: [pigeon]}], hashes: [{sha256: " + hash + "}]}\n")}})
	if err != nil {
		t.Fatal(err)
	}
	flow := func(f event.Flow, facts ...string) *event.Event {
		e := &event.Event{Kind: event.FlowSeen, Content: event.Content{Flow: &f}}
		for _, fact := range facts {
			e.Evidence = append(e.Evidence, event.Evidence{Fact: fact})
		}
		return e
	}
	program := func(app, sum string, facts ...string) *event.Event {
		e := flow(event.Flow{}, facts...)
		e.Flow, e.Program = nil, &event.Program{App: app, SHA256: sum, Confidence: event.High}
		return e
	}
	for _, x := range []struct {
		name  string
		event *event.Event
		want  string
	}{
		{"a name", flow(event.Flow{Name: "a.pigeon.example", Server: "192.0.2.1:443"}), "pigeon"},
		{"a name that it no longer knows", flow(event.Flow{App: "dove", Name: "a.dove.example"}, "tls name:dove.example"), ""},
		{"an address", flow(event.Flow{Server: "198.51.100.7:443"}), "pigeon"},
		{"an address behind another name", flow(event.Flow{Server: "198.51.100.7:443", Name: "www.example.org"}), ""},
		{"a signature that stands", flow(event.Flow{App: "pigeon", Server: "192.0.2.1:80"}, "traffic:coo"), "pigeon"},
		{"a signature that is gone", flow(event.Flow{App: "pigeon", Server: "192.0.2.1:80"}, "traffic:caw"), ""},
		{"a messenger that is gone", flow(event.Flow{App: "dove", Server: "192.0.2.1:80"}, "traffic:coo"), ""},
		{"an odd server", flow(event.Flow{Server: "?"}), ""},
		{"a hash", program("", hash), "pigeon"},
		{"a package that stands", program("pigeon", "", "deb:pigeon"), "pigeon"},
		{"a package that is gone", program("pigeon", "", "deb:dove"), ""},
	} {
		rollout.Reconsider(c, x.event)
		got := ""
		if x.event.Flow != nil {
			got = x.event.Flow.App
		} else {
			got = x.event.Program.App
		}
		if got != x.want {
			t.Errorf("%s: %q, want %q", x.name, got, x.want)
		}
	}
}

// TestReobserve: only what is newly stopped, or no more, is a line.
func TestReobserve(t *testing.T) {
	other := side(t, 1, birds("pigeon.example"), birdPolicy)
	observed := func(name string, action event.Action) *archive.Observed {
		return &archive.Observed{Times: 3, Event: &event.Event{Kind: event.DNSQuery, Verdict: event.Verdict{Action: action},
			Content: event.Content{Question: &event.Question{Name: name}}}}
	}
	line, differs := rollout.Reobserve(observed("a.pigeon.example", event.Allow), other)
	if !differs || !line.Stops || line.Times != 3 || line.After != "pigeon block" || line.Name != "a.pigeon.example" {
		t.Errorf("%+v", line)
	}
	if line, differs := rollout.Reobserve(observed("www.example.org", event.Block), other); !differs || line.Stops {
		t.Errorf("%+v", line)
	}
	for _, x := range []*archive.Observed{observed("www.example.org", event.Allow), observed("a.pigeon.example", event.Block), {Event: &event.Event{}}} {
		if line, differs := rollout.Reobserve(x, other); differs {
			t.Errorf("%+v", line)
		}
	}
}

// TestDiff: the flows of a capture of which two sides say different things.
func TestDiff(t *testing.T) {
	old, fresh := side(t, 0, agents("Old/*"), birdPolicy), side(t, 1, agents("New/*"), birdPolicy)
	b := captured(t, []string{"10.0.0.7"}, "Old/1", "New/1", "Browser/1")
	got, flows, err := rollout.Diff(t.Context(), old, fresh, "a.pcapng", b)
	if err != nil || flows != 3 || len(got) != 2 {
		t.Fatalf("%d of %d, %v", len(got), flows, err)
	}
	if d := got[0]; d.Stops || !d.Passes || d.Before.App != "pigeon" || d.After.App != "" || d.Before.Rule != "birds" {
		t.Errorf("%+v", d)
	}
	if d := got[1]; !d.Stops || d.Passes || d.After.Verdict != event.Block {
		t.Errorf("%+v", d)
	}
	if _, _, err := rollout.Diff(t.Context(), old, fresh, "x", []byte("no capture")); err == nil {
		t.Error("what is no capture was compared")
	}
}
