package xmpp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/conversation/pipeline"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

const domain = "example.org"

// ledger is a recorder that keeps events in memory and fails when told to.
type ledger struct {
	mu     sync.Mutex
	events []*event.Event
	fail   bool
}

var errDisk = errors.New("no space left on device")

func (l *ledger) Record(_ context.Context, events ...*event.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail {
		return errDisk
	}
	for _, e := range events {
		c := *e
		l.events = append(l.events, &c)
	}
	return nil
}

func (l *ledger) setFail(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = on
}

func (l *ledger) find(kind event.Kind, contains string) []*event.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*event.Event
	for _, e := range l.events {
		if e.Kind == kind && strings.Contains(e.Text+" "+e.Subject+" "+e.Phase+" "+e.Room.Name, contains) {
			out = append(out, e)
		}
	}
	return out
}

// digits finds card numbers, and EICAR-like files, as a real inspector would say it.
type digits struct{}

func (digits) Name() string    { return "pattern" }
func (digits) Version() string { return "test" }
func (digits) Inspect(_ context.Context, item *inspect.Item) inspect.Result {
	text := item.Text
	if item.Body != nil {
		b := make([]byte, item.Size)
		item.Body.ReadAt(b, 0)
		text = string(b)
	}
	if strings.Contains(text, "4111 1111 1111 1111") || strings.Contains(text, "EICAR") {
		return inspect.Result{Hits: []event.Hit{{Inspector: "pattern", Name: "payment-card", Count: 1, Confidence: event.High}}}
	}
	return inspect.Result{}
}

// cards blocks what has a hit, and what is encrypted.
type cards struct{}

func (cards) Decide(in *policy.Input) event.Verdict {
	v := event.Verdict{Action: event.Allow, Rule: "otherwise", Enforced: true, Policy: "test"}
	if len(in.Event.Hits) > 0 {
		v.Action, v.Rule, v.Say = event.Block, "cards", "Card numbers may not leave the firm by chat."
	}
	if strings.Contains(in.Event.Text, "signal group") {
		v.Obligations = []event.Obligation{{Kind: event.Warn, Queue: "Stay in the firm's <own> chat.", Rule: "venue"}}
	}
	for _, n := range in.Event.NotChecked {
		v.Action, v.Rule, v.Say = event.Block, n.Reason, "What nobody can look into is not delivered: "+n.Reason+"."
	}
	if in.Event.Kind == event.Join && strings.HasPrefix(in.Event.Room.Name, "walled@") {
		v.Action, v.Rule, v.Say = event.Block, "wall", "An ethical wall stands before this room."
	}
	return v
}

// setting is a gateway in front of a real Prosody.
type setting struct {
	t       *testing.T
	ctx     context.Context
	prosody *xmpptest.Prosody
	gateway *xmpp.Gateway
	journal *ledger
	pipe    *pipeline.Pipeline
	health  *health.Board
	stop    func()
}

func startProsody(t *testing.T, ctx context.Context) *xmpptest.Prosody {
	t.Helper()
	return startProsodyOf(t, ctx, domain)
}

func startProsodyOf(t *testing.T, ctx context.Context, domain string) *xmpptest.Prosody {
	t.Helper()
	p, err := xmpptest.StartProsody(ctx, t.TempDir(), domain, map[string]string{"alice": "wonder", "bob": "builder", "carol": "xmas", "dave": "jones"})
	if errors.Is(err, xmpptest.ErrMissing) && os.Getenv("CHAPERONE_CI") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// begin starts the server, without a gateway.
func begin(t *testing.T) *setting {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return &setting{t: t, ctx: ctx, prosody: startProsody(t, ctx), journal: &ledger{}, health: health.NewBoard(time.Now)}
}

func start(t *testing.T, change func(*xmpp.Config, *pipeline.Config)) *setting {
	t.Helper()
	s := begin(t)
	s.serve(change)
	return s
}

// brief is the time in which a refusal comes that comes at all.
func brief(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func (s *setting) config() xmpp.Config {
	p := s.prosody
	cert, key := filepath.Join(s.t.TempDir(), "gw.pem"), filepath.Join(s.t.TempDir(), "gw.key")
	if err := xmpptest.SelfSigned(cert, key, p.Domain, "localhost"); err != nil {
		s.t.Fatal(err)
	}
	return xmpp.Config{
		ID: "office", Kind: "xmpp", Domain: p.Domain,
		Listen: []xmpp.Listener{
			{Address: "127.0.0.1:0", TLS: xmpp.StartTLS, Certificate: cert, Key: key},
			{Address: "127.0.0.1:0", TLS: xmpp.Direct, Certificate: cert, Key: key},
			{Address: "127.0.0.1:0", TLS: xmpp.Off},
		},
		Upstream: xmpp.Upstream{Address: p.Address, TLS: xmpp.StartTLS, CA: p.Certificate},
		Uploads:  &xmpp.Uploads{Listen: "127.0.0.1:0", Upstream: p.HTTP},
	}
}

func (s *setting) serve(change func(*xmpp.Config, *pipeline.Config)) {
	s.t.Helper()
	cfg, pc := s.config(), pipeline.Config{Connector: "office"}
	if change != nil {
		change(&cfg, &pc)
	}
	deps := pipeline.Deps{Inspection: inspect.New([]inspect.Inspector{digits{}}, time.Minute), Policy: cards{}, Recorder: s.journal, Health: s.health}
	if pc.Open {
		spool, err := file.OpenSpool(s.t.TempDir(), "office", 1<<20)
		if err != nil {
			s.t.Fatal(err)
		}
		deps.Spool = spool
	}
	s.pipe = pipeline.New(pc, deps)
	s.run(cfg, s.pipe)
}

// run runs the gateway with a judge until the test ends.
func (s *setting) run(cfg xmpp.Config, judge connector.Judge) {
	s.t.Helper()
	log := slog.New(slog.NewTextHandler(testWriter{s.t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g, err := xmpp.New(cfg, xmpp.Deps{Judge: judge, Log: log, Health: s.health, Times: xmpp.Times{Drain: 2 * time.Second}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.gateway = g
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	if s.pipe != nil {
		wg.Go(func() { s.pipe.Run(ctx) })
	}
	wg.Go(func() {
		if err := g.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	var once sync.Once
	s.stop = func() { once.Do(func() { cancel(); wg.Wait() }) }
	s.t.Cleanup(s.stop)
	select {
	case <-g.Ready():
	case <-s.ctx.Done():
		s.t.Fatal("the gateway is not ready")
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if os.Getenv("CHAPERONE_TEST_LOG") != "" {
		os.Stderr.Write(b)
	}
	return len(b), nil
}

var passwords = map[string]string{"alice": "wonder", "bob": "builder", "carol": "xmas", "dave": "jones"}

func (s *setting) login(user string) xmpptest.Login {
	return xmpptest.Login{
		Address: s.gateway.Addresses()[0].String(), JID: user + "@" + s.prosody.Domain + "/" + user + "-desk", Password: passwords[user],
		TLS: &tls.Config{InsecureSkipVerify: true, ServerName: domain},
	}
}

func (s *setting) dial(user string) *xmpptest.Client {
	s.t.Helper()
	return s.dialAs(s.login(user))
}

func (s *setting) dialAs(l xmpptest.Login) *xmpptest.Client {
	s.t.Helper()
	c, err := xmpptest.Dial(s.ctx, l)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.prosody.Log())
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s *setting) raw(user string) *xmpptest.Raw {
	s.t.Helper()
	r, err := xmpptest.DialRaw(s.ctx, s.login(user))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(r.Close)
	return r
}

// message waits for a message with an id.
func (s *setting) message(c *xmpptest.Client, id string) *xmpptest.Stanza {
	s.t.Helper()
	m, err := c.Message(s.ctx, id)
	if err != nil {
		s.t.Fatalf("message %s: %v", id, err)
	}
	return m
}

func (s *setting) send(c *xmpptest.Client, xml string) {
	s.t.Helper()
	if err := c.Send(s.ctx, xml); err != nil {
		s.t.Fatal(err)
	}
}

// count checks how many records there are, after giving those that nobody waits for a moment.
func (s *setting) count(kind event.Kind, contains string, want int) []*event.Event {
	s.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		got := s.journal.find(kind, contains)
		if len(got) == want {
			return got
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d records of kind %s with %q, want %d", len(got), kind, contains, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func isMessage(m *xmpptest.Stanza) bool { return m.Local == "message" }
