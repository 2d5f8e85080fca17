package judge_test

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// identifier knows a file by its first word: "messenger", "program", "script", "slow", "crash".
type identifier struct {
	mu     sync.Mutex
	asked  int
	medium string
	folder bool // folders are a messenger

	unsteady bool
}

func (i *identifier) Identify(ctx context.Context, f *os.File, path string) ([]scan.Program, []scan.Problem, error) {
	i.mu.Lock()
	i.asked++
	i.mu.Unlock()
	b := make([]byte, 64)
	n, _ := f.ReadAt(b, 0)
	word, _, _ := strings.Cut(string(b[:n]), " ")
	if strings.HasPrefix(word, "\x04\x00\x00\x00") { // a folder that was packed
		word = "folder"
	}
	p := scan.Program{Program: event.Program{Path: path, Format: "elf", SHA256: "sum of " + word}}
	switch word {
	case "messenger":
		p.App, p.Confidence = "telegram", event.High
		p.Evidence = []event.Evidence{{Fact: "token:x", Strength: event.High}}
	case "carrier": // a program that carries a messenger
		inner := p
		inner.App, inner.Confidence, inner.Inside = "signal", event.High, "a/b"
		inner.SHA256 = "sum of what it carries"
		return []scan.Program{p, inner}, []scan.Problem{{Inside: "c", Reason: "unsupported"}}, nil
	case "slow":
		<-ctx.Done()
		return nil, nil, ctx.Err()
	case "crash":
		return nil, []scan.Problem{{Reason: "parser crashed"}}, nil
	case "dead":
		return nil, nil, errors.New("no sandbox")
	case "script":
		return nil, nil, nil
	case "runtime":
		p.Runtime = true
	case "folder":
		if i.folder {
			p.App, p.Confidence = "signal", event.High
			p.Evidence = []event.Evidence{{Fact: "desktop:x", Value: "x", Strength: event.High}}
		}
	}
	return []scan.Program{p}, nil, nil
}

// count tells how many files were looked at.
func (i *identifier) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

func (i *identifier) Medium(uint64) string { return i.medium }
func (i *identifier) Steady(uint64) bool   { return !i.unsteady }
func (i *identifier) Owner(uint32) string  { return "alice" }

type decider struct{ enforced bool }

func (d decider) Decide(in *policy.Input) event.Verdict {
	v := event.Verdict{Action: event.Allow, Rule: policy.OtherwiseRule, Enforced: d.enforced, Policy: "1"}
	if in.Event.Program.App != "" {
		v.Action, v.Rule, v.Say = event.Block, "no-messengers", "Use the firm's own."
	}
	return v
}

type exceptions map[string]bool

func (e exceptions) Approved(sha256 string, _ time.Time) bool { return e[sha256] }

type trust bool

func (t trust) Trusted(*os.File) bool { return bool(t) }

// bench is a judge with the holder's end of its socket.
type bench struct {
	t      *testing.T
	judge  *judge.Judge
	holder int
	stops  chan judge.Stop
	id     *identifier
	dir    string
	last   uint64
}

func newBench(t *testing.T, o judge.Options) *bench {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, holder: fds[0], stops: make(chan judge.Stop, 10), id: &identifier{medium: "fixed"}, dir: t.TempDir()}
	if o.Mode == "" {
		o.Mode = judge.DenyList
	}
	if o.Rules.Identifier == nil {
		o.Rules.Identifier = b.id
	}
	if o.Rules.Policy == nil {
		o.Rules.Policy = decider{true}
	}
	if o.Rules.NotInspected == "" {
		o.Rules.NotInspected = event.Block
	}
	o.Rules.Generation = 7
	if o.Timeout == 0 {
		o.Timeout = cmp.Or(o.Timeout, 50*time.Millisecond)
	}
	o.Stopped = func(s judge.Stop) { b.stops <- s }
	o.Now = func() time.Time { return time.Now().Add(time.Hour) } // files are not fresh
	b.judge = judge.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.judge.Serve(ctx, judge.Socket(fds[1])) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	if m := b.receive(); m.Kind != wire.Ready {
		t.Fatalf("%+v", m)
	}
	return b
}

func (b *bench) receive() wire.Message {
	b.t.Helper()
	buf := make([]byte, wire.Size+1)
	n, _, err := unix.Recvfrom(b.holder, buf, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := wire.Parse(buf[:n])
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

// ask asks about a file with a text, and returns the answer.
func (b *bench) ask(text string, flags uint8) wire.Message {
	b.t.Helper()
	path := filepath.Join(b.dir, "x")
	if err := os.WriteFile(path, []byte(text), 0o777); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		b.t.Fatal(err)
	}
	return b.askPath(path, flags)
}

// sendPath asks about a file that a thread wants to start.
func (b *bench) sendPath(path string, flags uint8, thread int32) {
	b.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		b.t.Fatal(err)
	}
	b.last++
	m := wire.Message{Kind: wire.Ask, ID: b.last, Flags: flags, Thread: thread, Key: wire.KeyOf(&st)}
	if err := unix.Sendmsg(b.holder, m.Append(nil), unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) askPath(path string, flags uint8) wire.Message {
	b.t.Helper()
	b.sendPath(path, flags, int32(unix.Gettid()))
	answer := b.receive()
	if answer.Kind != wire.Answer || answer.ID != b.last || answer.Generation != 7 {
		b.t.Fatalf("%+v", answer)
	}
	return answer
}

// TestDecisions asks about every kind of file in every mode.
func TestDecisions(t *testing.T) {
	all := map[judge.Mode]bool{judge.Monitor: true, judge.Learn: true, judge.DenyList: true, judge.Lockdown: true}
	only := func(m ...judge.Mode) map[judge.Mode]bool {
		out := map[judge.Mode]bool{}
		for _, x := range m {
			out[x] = true
		}
		return out
	}
	for _, test := range []struct {
		name, text string
		o          judge.Options
		allowed    map[judge.Mode]bool
		rule       string // of the stop
	}{
		{"a program", "program", judge.Options{Trust: trust(true)}, all, ""},
		{"a messenger", "messenger", judge.Options{Trust: trust(true)}, only(judge.Monitor, judge.Learn), "no-messengers"},
		{"a program that carries one", "carrier", judge.Options{Trust: trust(true)}, only(judge.Monitor, judge.Learn), "no-messengers"},
		{"a script", "script", judge.Options{Trust: trust(true)}, all, ""},
		{"a messenger, and the policy only watches", "messenger", judge.Options{Rules: judge.Rules{Policy: decider{}}, Trust: trust(true)}, all, "no-messengers"},
		{"a messenger that is approved", "messenger", judge.Options{Exceptions: exceptions{"sum of messenger": true}}, all, ""},
		{"a carrier that is approved", "carrier", judge.Options{Exceptions: exceptions{"sum of carrier": true}}, all, ""},
		{"a file that takes long", "slow", judge.Options{}, only(judge.Monitor, judge.Learn), "otherwise"},
		{"a file that a parser dies on", "crash", judge.Options{}, only(judge.Monitor, judge.Learn), "otherwise"},
		{"no sandbox", "dead", judge.Options{}, only(judge.Monitor, judge.Learn), "otherwise"},
		{"a file that takes long, and policy lets it", "slow", judge.Options{Rules: judge.Rules{NotInspected: event.Allow}}, only(judge.Monitor, judge.Learn, judge.DenyList), ""},
		{"what no package brought", "program", judge.Options{Trust: trust(false)}, only(judge.Monitor, judge.Learn, judge.DenyList), ""}, // anybody may write it
	} {
		for mode := range all {
			o := test.o
			o.Mode = mode
			b := newBench(t, o)
			got := b.ask(test.text, wire.Quiet).Has(wire.Allow)
			if got != test.allowed[mode] {
				t.Errorf("%s, %s: allowed %v", test.name, mode, got)
			}
			if test.rule == "" {
				continue
			}
			s := <-b.stops
			if v := s.Event.Verdict; v.Rule != test.rule || v.Enforced == got || s.Refused == got || s.Event.From.Handle != "alice" || s.Event.Program.Path == "" {
				t.Errorf("%s, %s: %+v", test.name, mode, s.Event)
			}
		}
	}
}

// TestRemovable stops what lies on a stick unless it is approved, and remembers nothing of it.
func TestRemovable(t *testing.T) {
	id := &identifier{medium: "removable"}
	o := judge.Options{Rules: judge.Rules{Identifier: id}, Removable: true}
	b := newBench(t, o)
	if m := b.ask("program", wire.Quiet); m.Flags != 0 {
		t.Errorf("%+v", m)
	}
	if s := <-b.stops; s.Event.Verdict.Rule != judge.RuleRemovable || s.Event.Verdict.Say == "" {
		t.Errorf("%+v", s.Event.Verdict)
	}
	b.ask("crash", wire.Quiet) // a stick needs no looking into
	if s := <-b.stops; s.Event.Verdict.Rule != judge.RuleRemovable {
		t.Errorf("what could not be looked into: %+v", s.Event.Verdict)
	}
	if id.count() != 2 {
		t.Errorf("looked at %d times", id.count())
	}
	o.Exceptions = exceptions{"sum of program": true}
	if m := newBench(t, o).ask("program", wire.Quiet); m.Flags != wire.Allow {
		t.Errorf("%+v", m)
	}
	if m := newBench(t, judge.Options{Rules: judge.Rules{Identifier: id}}).ask("program", wire.Quiet); m.Flags != wire.Allow {
		t.Errorf("%+v", m)
	}
}

// TestWhatIsRemembered lets the holder and the kernel answer by themselves only where nothing can have changed.
func TestWhatIsRemembered(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for files of root")
	}
	path := func(b *bench, mode os.FileMode, uid int) string {
		p := filepath.Join(b.dir, "y")
		if err := errors.Join(os.WriteFile(p, []byte("program"), 0o600), os.Chown(p, uid, uid), os.Chmod(p, mode)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, test := range []struct {
		name  string
		mode  os.FileMode
		uid   int
		flags uint8
		rules judge.Rules
		want  uint8
	}{
		{"root's", 0o755, 0, wire.Quiet, judge.Rules{}, wire.Allow | wire.Remember | wire.Ignore},
		{"a user's", 0o755, 1000, wire.Quiet, judge.Rules{}, wire.Allow | wire.Remember},
		{"root's, which a group may write", 0o775, 0, wire.Quiet, judge.Rules{}, wire.Allow | wire.Remember},
		{"a user's, which may be written now", 0o755, 1000, 0, judge.Rules{}, wire.Allow},
		{"root's, in an image that a user may write", 0o755, 0, wire.Quiet, judge.Rules{Identifier: &identifier{unsteady: true}}, wire.Allow},
		{"root's, where rules depend on who and when", 0o755, 0, wire.Quiet, judge.Rules{Varying: true}, wire.Allow},
	} {
		b := newBench(t, judge.Options{Rules: test.rules})
		if m := b.askPath(path(b, test.mode, test.uid), test.flags); m.Flags != test.want {
			t.Errorf("%s: %b, want %b", test.name, m.Flags, test.want)
		}
	}
}

// TestMaintainerScripts lets root start in lockdown what only root can change, and lets nobody else profit from that.
func TestMaintainerScripts(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for files of root")
	}
	b := newBench(t, judge.Options{Mode: judge.Lockdown, Trust: trust(false)})
	path := filepath.Join(b.dir, "postinst")
	if err := os.WriteFile(path, []byte("script"), 0o755); err != nil {
		t.Fatal(err)
	}
	if m := b.askPath(path, wire.Quiet); m.Flags != wire.Allow {
		t.Errorf("%b", m.Flags)
	}
}

// TestCache looks once at a file that stays the same, again at one that changed, and each time at one that may be written.
func TestCache(t *testing.T) {
	b := newBench(t, judge.Options{})
	path := filepath.Join(b.dir, "x")
	b.ask("messenger", wire.Quiet)
	b.askPath(path, wire.Quiet)
	if b.id.count() != 1 {
		t.Errorf("looked at %d times", b.id.count())
	}
	b.askPath(path, 0)
	if b.id.count() != 2 {
		t.Errorf("looked at %d times", b.id.count())
	}
	if b.ask("program   ", wire.Quiet); b.id.count() != 3 {
		t.Errorf("looked at %d times", b.id.count())
	}
	b.judge.Forget()
	if b.askPath(path, wire.Quiet); b.id.count() != 4 {
		t.Errorf("looked at %d times", b.id.count())
	}
}

// TestMustRun starts what a machine cannot do without, whatever it is.
func TestMustRun(t *testing.T) {
	b := newBench(t, judge.Options{})
	b.ask("messenger", wire.Quiet)
	path := filepath.Join(b.dir, "x")
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	other, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.judge.SetMust(judge.Socket(other[1]), []wire.Key{wire.KeyOf(&st)}); err != nil {
		t.Fatal(err)
	}
	if !b.askPath(path, wire.Quiet).Has(wire.Allow) {
		t.Error("refused")
	}
	if c := b.judge.Counts(); c.Asked != 2 || c.Refused != 1 {
		t.Errorf("%+v", c)
	}
}

// TestLoader lets a loader start where the kernel asks for it, right after a program that names one and on the same thread, and never by hand.
func TestLoader(t *testing.T) {
	b := newBench(t, judge.Options{Mode: judge.Lockdown, Trust: trust(true), Loaders: []string{"sum of loader"}})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if b.ask("loader", wire.Quiet).Has(wire.Allow) {
		t.Error("it was started by hand")
	}
	if s := <-b.stops; s.Event.Verdict.Rule != judge.RuleLoader || !s.Refused {
		t.Errorf("%+v", s)
	}
	for _, program := range []string{"/bin/true", "/bin/cat"} {
		if !b.askPath(program, wire.Quiet).Has(wire.Allow) {
			t.Fatal(program)
		}
		if got := b.ask("loader", wire.Quiet).Has(wire.Allow); !got {
			t.Errorf("the loader of %s did not start", program)
		}
	}
	if b.ask("loader", wire.Quiet).Has(wire.Allow) {
		t.Error("it was started a second time")
	}
	if b.ask("program", wire.Quiet); b.ask("loader", wire.Quiet).Has(wire.Allow) {
		t.Error("it was started after a program that needs none")
	}
}

// TestOpens lets data, and whatever root opens, be opened in lockdown.
func TestOpens(t *testing.T) {
	b := newBench(t, judge.Options{Mode: judge.Lockdown, Trust: trust(false)})
	if !b.ask("any text", wire.Open).Has(wire.Allow) {
		t.Error("data")
	}
	b2 := newBench(t, judge.Options{Mode: judge.DenyList})
	if !b2.ask("messenger", wire.Open).Has(wire.Allow) {
		t.Error("only starts are judged")
	}
}
