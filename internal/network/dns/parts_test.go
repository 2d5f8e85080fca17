package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/event"
)

var noon = time.Unix(1_800_000_000, 0)

func answerOf(t testing.TB, rcode int, answer, authority []string) *wire.Msg {
	t.Helper()
	m := &wire.Msg{MsgHdr: wire.MsgHdr{Rcode: rcode, Response: true}}
	for _, list := range []struct {
		texts []string
		into  *[]wire.RR
	}{{answer, &m.Answer}, {authority, &m.Ns}} {
		for _, text := range list.texts {
			rr, err := wire.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			*list.into = append(*list.into, rr)
		}
	}
	return m
}

func TestLifetime(t *testing.T) {
	const soa = "example. 300 IN SOA ns.example. host.example. 1 1 1 1 60"
	many := make([]string, maxCached+1)
	for i := range many {
		many[i] = fmt.Sprintf("a.example. 60 IN A 192.0.2.%d", i)
	}
	for name, test := range map[string]struct {
		m    *wire.Msg
		want time.Duration
	}{
		"shortest":             {answerOf(t, 0, []string{"a.example. 60 IN CNAME b.example.", "b.example. 30 IN A 192.0.2.1"}, nil), 30 * time.Second},
		"no longer than bound": {answerOf(t, 0, []string{"a.example. 900000 IN A 192.0.2.1"}, nil), maxTTL},
		"zero":                 {answerOf(t, 0, []string{"a.example. 0 IN A 192.0.2.1"}, nil), 0},
		"no such name":         {answerOf(t, wire.RcodeNameError, nil, []string{soa}), 60 * time.Second},
		"no data":              {answerOf(t, 0, nil, []string{soa}), 60 * time.Second},
		"alias to nothing":     {answerOf(t, wire.RcodeNameError, []string{"a.example. 20 IN CNAME b.example."}, []string{soa}), 20 * time.Second},
		"negative, no SOA":     {answerOf(t, wire.RcodeNameError, nil, nil), 0},
		"failure":              {answerOf(t, wire.RcodeServerFailure, nil, []string{soa}), 0},
		"refusal":              {answerOf(t, wire.RcodeRefused, nil, []string{soa}), 0},
		"too many records":     {answerOf(t, 0, many, nil), 0},
	} {
		if got := lifetime(test.m); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestCacheKeepsWhatIsAskedFor(t *testing.T) {
	c := newCache(8)
	put := func(i int) {
		c.put(cacheKey{name: fmt.Sprint(i)}, &stored{msg: answerOf(t, 0, []string{"a.example. 60 IN A 192.0.2.1"}, nil), at: noon})
	}
	for i := range 40 {
		put(i)
		if c.get(cacheKey{name: "0"}, noon) == nil {
			t.Fatalf("what is asked for again and again was forgotten after %d others", i)
		}
	}
	if n := len(c.young) + len(c.old); n > 8 {
		t.Errorf("%d entries, want at most 8", n)
	}
	if c.get(cacheKey{name: "0", do: true}, noon) != nil || c.get(cacheKey{name: "0", qtype: 1}, noon) != nil {
		t.Error("another question got the answer")
	}
	if c.get(cacheKey{name: "0"}, noon.Add(time.Minute)) != nil {
		t.Error("an answer outlived its time")
	}
	off := newCache(-1)
	off.put(cacheKey{}, &stored{msg: answerOf(t, 0, []string{"a.example. 60 IN A 192.0.2.1"}, nil), at: noon})
	if off.get(cacheKey{}, noon) != nil {
		t.Error("a cache that is off keeps answers")
	}
}

func TestLimiter(t *testing.T) {
	l := newLimiter(10)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	took := func(client netip.Addr, at time.Time) (n int) {
		for l.allow(client, at) {
			n++
		}
		return n
	}
	if n := took(a, noon); n != 20 {
		t.Errorf("a burst of %d, want 20", n)
	}
	if n := took(b, noon); n != 20 {
		t.Errorf("another client's burst is %d", n)
	}
	if n := took(a, noon.Add(500*time.Millisecond)); n != 5 {
		t.Errorf("%d after half a second, want 5", n)
	}
	if n := took(a, noon.Add(-time.Hour)); n != 0 {
		t.Errorf("a clock set back gives %d", n)
	}
	if n := took(a, noon.Add(time.Hour)); n != 20 {
		t.Errorf("%d after an hour, want 20", n)
	}
	for i := range 3 * maxBuckets {
		l.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), noon)
	}
	if n := len(l.young) + len(l.old); n > maxBuckets {
		t.Errorf("%d clients are remembered", n)
	}
	if !newLimiter(-1).allow(a, noon) {
		t.Error("no bound refuses")
	}
}

func TestGuests(t *testing.T) {
	g := &guests{max: 8, open: map[netip.Addr]int{}}
	client := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, i}) }
	for i := range byte(4) {
		for range 2 {
			if !g.enter(client(i)) {
				t.Fatalf("client %d was refused", i)
			}
		}
		if g.enter(client(i)) {
			t.Fatalf("client %d has a third connection", i)
		}
	}
	if g.enter(client(9)) {
		t.Error("a ninth connection was let in")
	}
	g.leave(client(0))
	if !g.enter(client(9)) {
		t.Error("a place that became free is not given")
	}
	g.leave(client(0))
	if _, ok := g.open[client(0)]; ok || g.total != 7 {
		t.Errorf("%d connections, %v", g.total, g.open)
	}
}

func TestMustRecord(t *testing.T) {
	verdict := func(action event.Action, rule, app string, obligations ...event.Obligation) *event.Event {
		return &event.Event{Verdict: event.Verdict{Action: action, Rule: rule, Obligations: obligations}, Content: event.Content{Question: &event.Question{App: app}}}
	}
	for name, test := range map[string]struct {
		e    *event.Event
		want bool
	}{
		"stopped":                      {verdict(event.Block, "r", ""), true},
		"held":                         {verdict(event.Hold, "r", ""), true},
		"allowed":                      {verdict(event.Allow, "r", ""), false},
		"nobody's rule":                {verdict(event.Allow, "otherwise", ""), false},
		"messenger that a rule allows": {verdict(event.Allow, "r", "xmpp"), false},
		"messenger that none allows":   {verdict(event.Allow, "otherwise", "xmpp"), true},
		"an alert is wanted":           {verdict(event.Allow, "otherwise", "", event.Obligation{Kind: event.Alert}), true},
	} {
		if got := mustRecord(test.e); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// failing is a Recorder that fails so many times, and keeps what it then takes.
type failing struct {
	times int
	kept  []*event.Event
}

func (f *failing) Record(_ context.Context, events ...*event.Event) error {
	if f.times > 0 {
		f.times--
		return errors.New("disk full")
	}
	f.kept = append(f.kept, events...)
	return nil
}

func TestWhatIsLostBecomesAGap(t *testing.T) {
	r := direct(t, 0)
	journal := &failing{times: 2}
	r.keeper.dep.Recorder = journal
	stop := func(i int) *event.Event {
		return &event.Event{Time: noon, Verdict: event.Verdict{Action: event.Block}, Content: event.Content{Question: &event.Question{Name: fmt.Sprint(i)}}}
	}
	for i := range 3 {
		r.keeper.record(t.Context(), []*event.Event{stop(2 * i), stop(2*i + 1)})
	}
	if s := r.Stats(); s.Unrecorded != 4 || s.Recorded != 3 {
		t.Errorf("stats are %+v", s)
	}
	if len(journal.kept) != 3 || journal.kept[2].Kind != event.Gap || journal.kept[2].Explanation != "4 stopped questions are not on record" {
		t.Errorf("kept %+v", journal.kept)
	}
	r.keeper.record(t.Context(), []*event.Event{stop(7)})
	if len(journal.kept) != 4 {
		t.Error("the gap is told twice")
	}
}

func TestRepeatsEndAfterAMinute(t *testing.T) {
	r := direct(t, 0)
	stop := func(after time.Duration, client string) *event.Event {
		return &event.Event{Time: noon.Add(after), Content: event.Content{Question: &event.Question{Name: "a.example", Client: client}}}
	}
	for _, test := range []struct {
		after  time.Duration
		client string
		want   bool
	}{{0, "a", false}, {time.Second, "a", true}, {time.Second, "b", false}, {59 * time.Second, "a", true}, {60 * time.Second, "a", false}, {61 * time.Second, "a", true}} {
		if got := r.keeper.repeated(stop(test.after, test.client)); got != test.want {
			t.Errorf("%s after %v: %t", test.client, test.after, got)
		}
	}
	for i := range 2 * maxRepeats {
		r.keeper.repeated(stop(0, fmt.Sprint(i)))
	}
	if n := len(r.keeper.repeats); n > maxRepeats {
		t.Errorf("%d repeats are remembered", n)
	}
}

func TestAliasesAreBounded(t *testing.T) {
	var chain []string
	for i := range 40 {
		chain = append(chain, fmt.Sprintf("n%d.example. 60 IN CNAME N%d.Example.", i, i+1))
	}
	chain = append(chain, "x.example. 60 IN HTTPS 1 . alpn=h2", "y.example. 60 IN DNAME z.example.")
	got := aliases(answerOf(t, 0, chain, nil))
	if len(got) != maxAliases || got[0] != "n1.example" {
		t.Errorf("%d aliases, the first %q", len(got), got[0])
	}
	got = aliases(answerOf(t, 0, chain[40:], nil))
	if !slices.Equal(got, []string{"z.example"}) {
		t.Errorf("aliases are %q", got)
	}
}
