package rollout_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

const birdPolicy = `version: 1
mode: {network: enforce}
groups:
  trial: {networks: [10.0.9.0/24]}
rules:
  - {id: must, names: ["*.must.example", "one.example"], verdict: allow}
  - {id: birds, apps: ["*"], verdict: block}
otherwise: {network: allow}
`

// side makes a side of a catalog and a policy.
func side(t *testing.T, serial uint64, files fs.FS, text string) *rollout.Side {
	t.Helper()
	c, err := catalog.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	f, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Build(f, c)
	if err != nil {
		t.Fatal(err)
	}
	return &rollout.Side{Serial: serial, Set: set}
}

func ask(p *rollout.Pair, name, client string) *event.Event {
	e := &event.Event{Kind: event.DNSQuery, Content: event.Content{Question: &event.Question{Name: name, Type: "A", Client: client}}}
	p.Question(e, now)
	return e
}

// TestQuestions: in shadow the old catalog acts, in canary the new one for its group, and differences are counted.
func TestQuestions(t *testing.T) {
	old, fresh := side(t, 0, birds("pigeon.example"), birdPolicy), side(t, 1, birds("dove.example"), birdPolicy)
	p := &rollout.Pair{First: old, Second: fresh, Stage: rollout.Shadow, Group: "trial", Tally: rollout.NewTally(now)}
	stopped := func(p *rollout.Pair, name, client string) bool { return ask(p, name, client).Verdict.Action.Stops() }
	if !stopped(p, "a.pigeon.example", "10.0.9.1") || stopped(p, "a.dove.example", "10.0.9.1") || stopped(p, "www.example.org", "10.0.9.1") {
		t.Error("in shadow the new catalog acts")
	}
	if c := p.Tally.Counts(); c.Decided != 3 || c.Stopped != 1 || c.Passed != 1 || len(c.Changes) != 2 || c.Changes[0].Kind != "question" {
		t.Errorf("%+v", c)
	}
	p = &rollout.Pair{First: old, Second: fresh, Stage: rollout.Canary, Group: "trial", Tally: rollout.NewTally(now)}
	if stopped(p, "a.pigeon.example", "10.0.9.1") || !stopped(p, "a.dove.example", "10.0.9.1") || stopped(p, "a.dove.example", "10.0.8.1") {
		t.Error("the canary group is not the one for which the new catalog acts")
	}
	if e := ask(p, "a.dove.example", "10.0.9.1"); e.Question.App != "pigeon" || len(e.Evidence) != 1 || e.Verdict.Policy != fresh.Set.Policy.Version() {
		t.Errorf("%+v", e)
	}
	p = &rollout.Pair{First: fresh, Second: old, Tally: rollout.NewTally(now)} // watched after the change
	stopped(p, "a.dove.example", "10.0.8.1")
	if c := p.Tally.Counts(); c.Stopped != 1 || c.Passed != 0 {
		t.Errorf("%+v", c)
	}
	if p := (&rollout.Pair{First: old}); !stopped(p, "a.pigeon.example", "10.0.9.1") {
		t.Error("without a trial")
	}
}

// TestNewlyForbidden: what the policy's allow rules spell out, and its cases, must not come to be stopped.
func TestNewlyForbidden(t *testing.T) {
	// An app rule before the allow rule, so that recognising more stops more.
	text := strings.Replace(birdPolicy, "rules:\n", "rules:\n  - {id: first, apps: [pigeon], verdict: block}\n", 1) +
		"tests: [{question: {name: news.example}, verdict: allow}, {question: {name: a.pigeon.example}, verdict: allow}]\n"
	old := side(t, 0, birds("pigeon.example"), text)
	for _, c := range []struct {
		names string
		want  []string
	}{
		{"pigeon.example, dove.example", nil},
		{"pigeon.example, must.example", []string{"host-1.must.example"}},
		{"pigeon.example, one.example", []string{"one.example"}},
		{"pigeon.example, news.example", []string{"case of the policy"}},
	} {
		got := rollout.NewlyForbidden(t.Context(), old, side(t, 1, birds(c.names), text))
		if len(got) != len(c.want) || len(got) > 0 && !strings.HasPrefix(got[0], c.want[0]) {
			t.Errorf("%s: %q, want %q", c.names, got, c.want)
		}
	}
}

// TestBounds: few differences conclude nothing, many do.
func TestBounds(t *testing.T) {
	b := rollout.Bounds{}.Defaults()
	for _, c := range []struct {
		decided, stopped int64
		exceeded         bool
	}{{0, 0, false}, {9, 9, false}, {100, 10, true}, {1000, 20, false}, {1000, 21, true}} {
		if got := b.Exceeded(rollout.Counts{Decided: c.decided, Stopped: c.stopped}); (got != "") != c.exceeded {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestTallyIsBounded: an endless variety of differences is counted, and not kept.
func TestTallyIsBounded(t *testing.T) {
	tally := rollout.NewTally(now)
	for i := range 1000 {
		tally.Add("flow", rollout.Answer{App: "a", Action: event.Allow}, rollout.Answer{App: fmt.Sprint("b", i), Action: event.Block})
	}
	if c := tally.Counts(); c.Stopped != 1000 || len(c.Changes) > 64 {
		t.Errorf("%d, %d changes", c.Stopped, len(c.Changes))
	}
}

// agents is a catalog that knows one messenger by its agent.
func agents(agent string) fs.FS {
	return fstest.MapFS{"apps/pigeon.yaml": {Data: []byte("id: pigeon\nname: Pigeon\nsources: [\"docs.example, 2026-11\"]\ntraffic: [{id: a, transport: tcp, decoder: http, match: {agent: \"" +
		agent + "\"}, confidence: high}]\n")}}
}

// captured writes a request by each agent, each from its own address.
func captured(t *testing.T, clients []string, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := flowtest.NewWriter(&b, now)
	for i, agent := range names {
		w.TCP(netip.AddrPortFrom(netip.MustParseAddr(clients[i%len(clients)]), uint16(50000+i)), netip.MustParseAddrPort("192.0.2.1:80"),
			flowtest.Chunk{FromClient: true, Data: []byte("GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nUser-Agent: " + agent + "\r\n\r\n")})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestTwin: every flow is reported once, by the side that acts for it, whatever changes meanwhile.
func TestTwin(t *testing.T) {
	old, fresh := side(t, 0, agents("Old/*"), birdPolicy), side(t, 1, agents("New/*"), birdPolicy)
	shadow := &rollout.Pair{First: old, Second: fresh, Stage: rollout.Shadow, Group: "trial", Tally: rollout.NewTally(now)}
	canary := &rollout.Pair{First: old, Second: fresh, Stage: rollout.Canary, Group: "trial", Tally: rollout.NewTally(now)}
	after := &rollout.Pair{First: fresh, Second: old, Group: "trial", Tally: rollout.NewTally(now)}
	for _, c := range []struct {
		name  string
		pairs []*rollout.Pair // in force from the n-th flow on
		want  []string        // what is named, by flow: old and new agent from the trial group, then from elsewhere
	}{
		{"nothing is tried", []*rollout.Pair{{First: old}}, []string{"pigeon", "", "pigeon", ""}},
		{"shadow", []*rollout.Pair{shadow}, []string{"pigeon", "", "pigeon", ""}},
		{"canary", []*rollout.Pair{canary}, []string{"", "pigeon", "pigeon", ""}},
		{"in force", []*rollout.Pair{after}, []string{"", "pigeon", "", "pigeon"}},
		{"shadow, then in force", []*rollout.Pair{shadow, shadow, after}, []string{"pigeon", "", "", "pigeon"}},
		{"in force, then taken back", []*rollout.Pair{after, after, {First: old}}, []string{"", "pigeon", "pigeon", ""}},
		{"canary, then none", []*rollout.Pair{canary, canary, {First: old}}, []string{"pigeon", "pigeon", "pigeon", ""}},
	} {
		for _, p := range c.pairs {
			if p.Second != nil {
				p.Tally = rollout.NewTally(now)
			}
		}
		opened, got := 0, map[string][]string{}
		pair := func() *rollout.Pair {
			p := c.pairs[min(max(opened-1, 0), len(c.pairs)-1)]
			return p
		}
		twin := rollout.NewTwin(pair, classify.Options{Live: true, Report: func(f *classify.Finding) {
			got[f.Flow.Client] = append(got[f.Flow.Client], f.Flow.App)
		}})
		b := captured(t, []string{"10.0.9.1", "10.0.9.1", "10.0.8.1", "10.0.8.1"}, "Old/1", "New/1", "Old/1", "New/1")
		if _, err := flow.ReadCapture(t.Context(), bytes.NewReader(b), flow.NewTracker(counting{twin, &opened}, flow.Limits{})); err != nil {
			t.Fatal(err)
		}
		for i, want := range c.want {
			client := fmt.Sprintf("10.0.%d.1:%d", 9-i/2, 50000+i)
			if !slices.Equal(got[client], []string{want}) {
				t.Errorf("%s: %s is reported as %q, want %q once", c.name, client, got[client], want)
			}
		}
		if p := c.pairs[0]; len(c.pairs) == 1 && p.Second != nil {
			if n := p.Tally.Counts(); n.Decided != 4 || n.Stopped != 2 || n.Passed != 2 || n.Changes[0].Count != 2 {
				t.Errorf("%s: %+v", c.name, n)
			}
		}
	}
}

// counting counts the flows that are opened.
type counting struct {
	*rollout.Twin
	n *int
}

// Opened counts.
func (c counting) Opened(f *flow.Flow) {
	*c.n++
	c.Twin.Opened(f)
}

// TestTwinKeepsState: what DNS taught before a change of the catalog is known after it.
func TestTwinKeepsState(t *testing.T) {
	old, fresh := side(t, 0, birds("dove.example"), birdPolicy), side(t, 1, birds("pigeon.example"), birdPolicy)
	var b bytes.Buffer
	w := flowtest.NewWriter(&b, now)
	client, resolver := netip.MustParseAddr("10.0.0.7"), netip.MustParseAddrPort("192.0.2.53:53")
	w.UDP(netip.AddrPortFrom(client, 40001), resolver, flowtest.Question("a.pigeon.example"))
	w.UDP(resolver, netip.AddrPortFrom(client, 40001), flowtest.Answer("a.pigeon.example", netip.MustParseAddr("192.0.2.60")))
	w.TCP(netip.AddrPortFrom(client, 40010), netip.MustParseAddrPort("192.0.2.60:443"), flowtest.Chunk{FromClient: true, Data: bytes.Repeat([]byte{0x90, 0x91}, 50)})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	opened := 0
	pairs := []*rollout.Pair{{First: old}, {First: fresh}}
	got := map[string]string{}
	twin := rollout.NewTwin(func() *rollout.Pair { return pairs[opened/2] }, classify.Options{Report: func(f *classify.Finding) {
		got[f.Flow.Server] = f.Flow.App
	}})
	if _, err := flow.ReadCapture(t.Context(), &b, flow.NewTracker(counting{twin, &opened}, flow.Limits{})); err != nil {
		t.Fatal(err)
	}
	if got["192.0.2.60:443"] != "pigeon" {
		t.Errorf("%v", got)
	}
}

func BenchmarkTwin(b *testing.B) {
	t := &testing.T{}
	old := side(t, 0, agents("Old/*"), birdPolicy)
	var capture bytes.Buffer
	if err := flowtest.WriteDemo(&capture, netip.MustParseAddr("10.0.0.7"), time.Now()); err != nil {
		b.Fatal(err)
	}
	pair := &rollout.Pair{First: old}
	b.ReportAllocs()
	for b.Loop() {
		twin := rollout.NewTwin(func() *rollout.Pair { return pair }, classify.Options{Report: func(*classify.Finding) {}})
		if _, err := flow.ReadCapture(b.Context(), bytes.NewReader(capture.Bytes()), flow.NewTracker(twin, flow.Limits{})); err != nil {
			b.Fatal(err)
		}
	}
}
