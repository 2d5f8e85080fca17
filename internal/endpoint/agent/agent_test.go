package agent_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/exception"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

func TestMain(m *testing.M) {
	sandbox.Child(os.Args, []sandbox.Parser{reveal.Parser()})
	os.Exit(m.Run())
}

const blocking = `version: 1
mode: enforce
rules:
  - {id: no-messengers, apps: ["*"], verdict: block, say: "Please use the firm's own chat."}
otherwise: {programs: allow}
`

const messenger = "\x00tdesktop-palette\x00tg://login?token=\x00"

func load(text string) func(context.Context) (agent.Rules, error) {
	return func(context.Context) (agent.Rules, error) {
		c, err := catalog.Default()
		if err != nil {
			return agent.Rules{}, err
		}
		f, err := policy.Parse("test", []byte(text))
		if err != nil {
			return agent.Rules{}, err
		}
		p, err := policy.Compile(f, policy.Known{CatalogVersion: c.Version()})
		return agent.Rules{Policy: p, Catalog: c}, err
	}
}

type recorder struct {
	mu     sync.Mutex
	events []*event.Event
	more   chan struct{}
}

func (r *recorder) Record(_ context.Context, events ...*event.Event) error {
	r.mu.Lock()
	r.events = append(r.events, events...)
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
	return nil
}

// await waits for an event that a test is true of.
func (r *recorder) await(t *testing.T, what string, is func(*event.Event) bool) *event.Event {
	t.Helper()
	end := time.After(2 * time.Minute)
	for {
		r.mu.Lock()
		for _, e := range r.events {
			if is(e) {
				r.mu.Unlock()
				return e
			}
		}
		r.mu.Unlock()
		select {
		case <-r.more:
		case <-end:
			t.Fatalf("no %s is on record", what)
		}
	}
}

type teller chan judge.Stop

func (t teller) Tell(s judge.Stop) { t <- s }

// desk is an agent with the holder's end of its socket.
type desk struct {
	t        *testing.T
	holder   int
	door     string
	records  *recorder
	told     teller
	reload   chan os.Signal
	messages chan wire.Message
	handed   []wire.Key // what was allowed before, as the worker said
}

var secret = []byte("a secret for exceptions")

func newDesk(t *testing.T, o agent.Options) *desk {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d := &desk{t: t, holder: fds[0], door: filepath.Join(dir, "run", "door"), records: &recorder{more: make(chan struct{}, 1)},
		told: make(teller, 100), reload: make(chan os.Signal, 1), messages: make(chan wire.Message, 5000)}
	if o.Dir == "" {
		o.Dir = filepath.Join(dir, "state")
	}
	o.Socket, o.Door, o.Recorder, o.Teller, o.Reload = judge.Socket(fds[1]), d.door, d.records, d.told, d.reload
	o.Host, o.Secret = event.Host{Name: "field"}, secret
	if o.Mode == "" {
		o.Mode = judge.DenyList
	}
	go func() {
		for {
			buf := make([]byte, wire.Size+1)
			n, _, err := unix.Recvfrom(d.holder, buf, 0)
			if err != nil || n == 0 {
				return
			}
			if m, err := wire.Parse(buf[:n]); err == nil {
				d.messages <- m
			}
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- agent.Run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = unix.Shutdown(d.holder, unix.SHUT_RDWR)
		unix.Close(fds[1])
	})
	d.await(wire.Ready)
	return d
}

// await waits for a message of a kind.
func (d *desk) await(kind wire.Kind) wire.Message {
	d.t.Helper()
	end := time.After(2 * time.Minute)
	for {
		select {
		case m := <-d.messages:
			if m.Kind == wire.Answer && m.ID == 0 {
				d.handed = append(d.handed, m.Key)
			} else if m.Kind == kind {
				return m
			}
		case <-end:
			d.t.Fatalf("no message of kind %d", kind)
		}
	}
}

// allows asks about such a program until it is allowed: one that the machine had no time for in 1.5 s is refused, and asked about again.
func (d *desk) allows(more string) bool {
	d.t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		if begun := time.Now(); d.ask(more) {
			return true
		} else if time.Since(begun) < time.Second {
			return false // it was looked at
		}
	}
	return false
}

// ask asks about a copy of /bin/true with more bytes behind it.
func (d *desk) ask(more string) bool {
	d.t.Helper()
	b, err := os.ReadFile("/bin/true")
	if err != nil {
		d.t.Fatal(err)
	}
	path := filepath.Join(d.t.TempDir(), "program")
	if err := os.WriteFile(path, append(b, more...), 0o755); err != nil {
		d.t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		d.t.Fatal(err)
	}
	m := wire.Message{Kind: wire.Ask, ID: 1, Flags: wire.Quiet, Thread: int32(unix.Gettid()), Key: wire.KeyOf(&st)}
	if err := unix.Sendmsg(d.holder, m.Append(nil), unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
		d.t.Fatal(err)
	}
	return d.await(wire.Answer).Has(wire.Allow)
}

// TestAMessengerIsStoppedToldAndRecorded goes from the question to the record, through the real scanner.
func TestAMessengerIsStoppedToldAndRecorded(t *testing.T) {
	d := newDesk(t, agent.Options{Load: load(blocking)})
	if !d.allows("") {
		t.Error("a program like any other was stopped")
	}
	for range 2 {
		if d.ask(messenger) {
			t.Error("a messenger was started")
		}
	}
	if s := <-d.told; s.Event.Verdict.Say == "" || !strings.Contains(agent.HowToAsk(s), "chaperone agent request") {
		t.Errorf("%+v", s)
	}
	e := d.records.await(t, "stop", func(e *event.Event) bool { return e.Kind == event.ProgramRun })
	if e.Program.App != "telegram" || e.Verdict.Rule != "no-messengers" || !e.Verdict.Enforced || e.Host.Name != "field" || len(e.Evidence) == 0 {
		t.Errorf("%+v", e)
	}
}

// TestReload puts another policy in force, and keeps the old one when the new one is broken.
func TestReload(t *testing.T) {
	var mu sync.Mutex
	text, broken := strings.Replace(blocking, "enforce", "monitor", 1), false
	d := newDesk(t, agent.Options{Load: func(ctx context.Context) (agent.Rules, error) {
		mu.Lock()
		defer mu.Unlock()
		if broken {
			return agent.Rules{}, errors.New("a mistake")
		}
		return load(text)(ctx)
	}})
	if !d.ask(messenger) {
		t.Fatal("the policy only watches")
	}
	mu.Lock()
	text = blocking
	mu.Unlock()
	d.reload <- unix.SIGHUP
	d.await(wire.Generation)
	if d.ask(messenger) {
		t.Fatal("the new policy is not in force")
	}
	mu.Lock()
	broken = true
	mu.Unlock()
	d.reload <- unix.SIGHUP
	if d.ask(messenger) {
		t.Fatal("a broken policy opened the machine")
	}
}

// opened waits until the door takes visitors.
func (d *desk) opened() {
	d.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		_, err := agent.Ask(d.t.Context(), d.door, &agent.Request{Status: true})
		if err == nil {
			return
		} else if time.Now().After(end) {
			d.t.Fatal(err)
		}
	}
}

// TestPlaces shuts out who takes more places than are his, until he leaves one.
func TestPlaces(t *testing.T) {
	d := newDesk(t, agent.Options{Load: load(blocking)})
	d.opened()
	var held []net.Conn
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	for range 50 {
		conn, err := net.Dial("unix", d.door)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	if _, err := held[len(held)-1].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the last of many was let in: %v", err)
	}
	for _, c := range held {
		_ = c.Close()
	}
	d.opened()
}

// TestDamagedExceptions decides although what was approved cannot be read, and puts that on record.
func TestDamagedExceptions(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "exceptions.json"), []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, agent.Options{Load: load(blocking), Dir: dir})
	d.opened()
	e := d.records.await(t, "word of the damage", func(e *event.Event) bool { return e.Phase == "agent.exceptions.damaged" })
	if len(e.Act.Details) != 1 || !strings.Contains(e.Act.Details[0].Value, "exceptions.json") {
		t.Errorf("%+v", e.Act)
	}
}

// withdraws lists what a code approved, and ends it.
func (d *desk) withdraws(t *testing.T, sum, code string) {
	t.Helper()
	r, err := agent.Ask(t.Context(), d.door, &agent.Request{List: true})
	if err != nil || len(r.Approved) != 1 || r.Approved[0].SHA256 != sum || r.Approved[0].Code != "" {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err = agent.Ask(t.Context(), d.door, &agent.Request{SHA256: sum, Withdraw: true, Reason: "left"}); err != nil || r.Exceptions != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	e := d.records.await(t, "withdrawal", func(e *event.Event) bool { return e.Phase == "program.withdraw" })
	if e.Act.Object != sum || e.Act.Purpose != "left" {
		t.Errorf("%+v", e.Act)
	}
	if _, err := agent.Ask(t.Context(), d.door, &agent.Request{SHA256: sum, Code: code}); err == nil || err.Error() != exception.ErrUsed.Error() {
		t.Errorf("the code of what was withdrawn: %v", err)
	}
}

// TestDoor asks for an exception, and gives in a code.
func TestDoor(t *testing.T) {
	d := newDesk(t, agent.Options{Load: load(blocking)})
	sum := strings.Repeat("ab", 32)
	ask := func(r agent.Request) (*agent.Reply, error) { return agent.Ask(t.Context(), d.door, &r) }
	d.opened()
	r, err := ask(agent.Request{Path: "/x", SHA256: sum, Reason: "for work"})
	if err != nil || r.ID == "" {
		t.Fatal(err)
	}
	e := d.records.await(t, "request", func(e *event.Event) bool { return e.Phase == "program.request" })
	if e.Act.Object != sum || e.Act.Purpose != "for work" {
		t.Errorf("%+v", e.Act)
	}
	if _, err := ask(agent.Request{SHA256: "ab"}); err == nil {
		t.Error("half a hash was taken")
	}
	if _, err := ask(agent.Request{SHA256: sum, Code: "wrong"}); err == nil {
		t.Error("a wrong code was taken")
	}
	code, err := exception.NewCode(secret, "field", sum, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if r, err = ask(agent.Request{SHA256: sum, Code: code}); err != nil || !r.Until.After(time.Now()) {
		t.Fatal(err)
	}
	d.records.await(t, "exception", func(e *event.Event) bool { return e.Phase == "program.except" })
	if r, err = ask(agent.Request{Status: true}); err != nil || r.Mode != "deny-list" || r.Exceptions != 1 || r.Policy == "" {
		t.Errorf("%+v, %v", r, err)
	}
	d.withdraws(t, sum, code)
	for _, bad := range []string{strings.Repeat("Z", 64), strings.Repeat("AB", 32)} {
		if _, err := ask(agent.Request{SHA256: bad}); err == nil {
			t.Errorf("%s was taken for a hash", bad)
		}
	}
	if _, err := ask(agent.Request{Path: "/x\x1b[2J", SHA256: sum}); err != nil {
		t.Fatal(err)
	}
	d.records.await(t, "request without escapes", func(e *event.Event) bool {
		return e.Phase == "program.request" && e.Act.Details[0].Value == "/x\ufffd[2J"
	})
	for range 10 {
		_, err = ask(agent.Request{SHA256: sum})
	}
	if err == nil {
		t.Error("anybody may ask without end")
	}
	other := strings.Repeat("cd", 32)
	if code, err = exception.NewCode(secret, "field", other, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(agent.Request{SHA256: other, Code: code}); err != nil {
		t.Errorf("whoever asked too often cannot give in a code: %v", err)
	}
	if _, err := ask(agent.Request{SHA256: other, Reason: strings.Repeat("x", 1001)}); err == nil || !strings.Contains(err.Error(), "1000 bytes") {
		t.Errorf("of a long reason is said %v", err)
	}
}

func TestNothingToLoad(t *testing.T) {
	err := agent.Run(t.Context(), agent.Options{Dir: t.TempDir(), Load: func(context.Context) (agent.Rules, error) { return agent.Rules{}, errors.New("a mistake") }})
	if err == nil || !strings.Contains(err.Error(), "a mistake") {
		t.Error(err)
	}
}
