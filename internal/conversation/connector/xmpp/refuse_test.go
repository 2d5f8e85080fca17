package xmpp

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/sight"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

func TestFromConfig(t *testing.T) {
	c := FromConfig(config.Gateway{
		ID: "office", Kind: "xmpp", Domain: "example.org", OnFailure: "open",
		Listen:   []config.Listen{{Address: "127.0.0.1:5222", TLS: "off"}},
		Upstream: config.Upstream{Address: "127.0.0.1:15222", TLS: "off"},
		Uploads:  &config.Uploads{Listen: "127.0.0.1:5443", Upstream: "http://127.0.0.1:5280", Certificate: "c", Key: "k", MaxBytes: 7},
		Limits:   config.XMPPLimit{Stanza: 1000, Depth: 9},
	}, func(name string) string { return "/etc/" + name })
	if err := c.Check(); err != nil || c.Uploads.MaxBytes != 7 || c.Uploads.Key != "/etc/k" || c.MaxStanza != 1000 || c.MaxDepth != 9 || c.Listen[0].TLS != Off {
		t.Errorf("%v %+v", err, c)
	}
}

func TestRefusalsAreWellFormedWhateverTheSenderWrote(t *testing.T) {
	n := parse(t, `<message to="a'&lt;b>@x" id='&amp;&#10;"'><body/></message>`)
	for _, v := range []event.Verdict{{Action: event.Block, Say: "<no> & 'never' \x00"}, {Action: event.Hold}, {Action: event.Quarantine}, {Action: event.Block}} {
		raw := refusalOf(&v).answer(n, "me@x/'r'", "me@x")
		e := parse(t, string(raw))
		if e.Attr("from") != n.Attr("to") || e.Attr("id") != n.Attr("id") || e.Attr("to") != "me@x/'r'" || e.Attr("type") != "error" {
			t.Errorf("%s", raw)
		}
	}
}

func TestWhatStops(t *testing.T) {
	for _, tt := range []struct {
		v    event.Verdict
		want bool
	}{
		{event.Verdict{Action: event.Allow, Enforced: true}, false},
		{event.Verdict{Action: event.Allow}, false},
		{event.Verdict{Action: event.Block, Enforced: true}, true},
		{event.Verdict{Action: event.Block}, false},
		{event.Verdict{Action: event.Pending}, true},
		{event.Verdict{}, true},
		{event.Verdict{Action: event.Allow, Enforced: true, Obligations: []event.Obligation{{Kind: event.Redact}}}, true},
		{event.Verdict{Action: event.Allow, Enforced: true, Obligations: []event.Obligation{{Kind: event.Review}}}, false},
	} {
		if got := stops(&tt.v); got != tt.want {
			t.Errorf("%+v stops: %v", tt.v, got)
		}
	}
}

func parse(t testing.TB, xml string) *xmlstream.Node {
	t.Helper()
	n, err := xmlstream.Parse([]byte(xml), xmlstream.Scope{{Prefix: "", URI: nsClient}}, xmlstream.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lame is a judge that does not end before the session of its first event does.
type lame struct{ asked chan struct{} }

func (l *lame) JudgeFile(ctx context.Context, e *event.Event, _ io.ReaderAt, _ int64) error {
	return l.Judge(ctx, e)
}

func (l *lame) Outcome(context.Context, *event.Event) error { return nil }

func (l *lame) Judge(ctx context.Context, e *event.Event) error {
	select {
	case <-l.asked:
		e.Verdict = event.Verdict{Action: event.Allow, Enforced: true}
		return nil
	default:
		close(l.asked)
		<-ctx.Done()
		return ctx.Err()
	}
}

// TestASessionThatEndsTakesNothingWithIt: another recipient of the same message judges it anew.
func TestASessionThatEndsTakesNothingWithIt(t *testing.T) {
	judge := &lame{asked: make(chan struct{})}
	g := &Gateway{deps: Deps{Judge: judge}, log: slog.New(slog.DiscardHandler), times: Times{}.withDefaults(), memory: sight.New(8), clock: clock.System{}}
	once := func(ctx context.Context) sight.Judged {
		j, _ := g.once(ctx, g.memory, g.memory.Key("a", "b", "1", ""), "x", func() *event.Event { return g.newEvent(event.Message) })
		return j
	}
	ctx, end := context.WithCancel(t.Context())
	first := make(chan sight.Judged)
	go func() { first <- once(ctx) }()
	<-judge.asked
	second := make(chan sight.Judged)
	go func() { second <- once(t.Context()) }()
	end()
	if j := <-first; withheld(j) == nil {
		t.Errorf("%+v", j)
	}
	if j := <-second; withheld(j) != nil {
		t.Errorf("withheld from the other: %+v", j)
	}
}
