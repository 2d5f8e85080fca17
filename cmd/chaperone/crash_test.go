package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/search"
)

// installation is the real program in front of a real Prosody, as an administrator would set it up.
type installation struct {
	t       *testing.T
	program string
	dir     string
	drop    string // outside
	listen  string
	prosody *xmpptest.Prosody
}

var chatters = map[string]string{"alice": "wonderland", "bob": "builder", "carol": "singer"}

func install(t *testing.T, ctx context.Context) *installation {
	t.Helper()
	p, err := xmpptest.StartProsody(ctx, t.TempDir(), "example.org", chatters)
	if errors.Is(err, xmpptest.ErrMissing) && os.Getenv("CHAPERONE_CI") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	in := &installation{t: t, program: filepath.Join(t.TempDir(), "chaperone"), dir: t.TempDir(), drop: t.TempDir(), listen: freeAddress(t), prosody: p}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", in.program, ".") // as make build does, so that Go has it at hand
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	in.says(0, "Written to", "quickstart", in.dir)
	book, err := account.Open(filepath.Join(in.dir, "data"), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	if err := book.SetPassword("reviewer", deskPassword); err != nil {
		t.Fatal(err)
	}
	in.configure("")
	return in
}

func freeAddress(t *testing.T) string {
	t.Helper()
	at, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func (in *installation) config() string { return filepath.Join(in.dir, "chaperone.yaml") }

// configure writes the configuration: one gateway, one recipient of checkpoints outside, and more.
func (in *installation) configure(more string) {
	in.t.Helper()
	text := fmt.Sprintf(`policy: policy.yaml
keys: {unlock: "file:data/keys/passphrase"}
ledger: {checkpoints: ["file:%s"]}
gateways:
  - id: office
    kind: xmpp
    domain: example.org
    listen: [{address: "%s", tls: off}]
    upstream: {address: "%s", tls: off}
%s`, in.drop, in.listen, in.prosody.Address, more)
	if err := os.WriteFile(in.config(), []byte(text), 0o600); err != nil {
		in.t.Fatal(err)
	}
}

// says runs the program, and checks its exit status and that it says a thing.
func (in *installation) says(status int, what string, args ...string) string {
	in.t.Helper()
	cmd := exec.Command(in.program, args...)
	cmd.Env = append(os.Environ(), "CHAPERONE_PASSWORD="+deskPassword)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != status || !strings.Contains(string(out), what) {
		in.t.Fatalf("%q: %v, want exit status %d and %q\n%s", args, err, status, what, out)
	}
	return string(out)
}

// serving is a running serve.
type serving struct {
	cmd *exec.Cmd
	log *strings.Builder
	end chan struct{}
}

// start starts serve; when ready is true it waits until it says that it serves.
func (in *installation) start(ready bool) *serving {
	in.t.Helper()
	s := &serving{cmd: exec.Command(in.program, "serve", "--config", in.config()), log: &strings.Builder{}, end: make(chan struct{})}
	out, err := s.cmd.StderrPipe()
	if err != nil {
		in.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	up := make(chan bool, 1)
	go func() {
		defer close(s.end)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(s.log, lines.Text())
			if strings.Contains(lines.Text(), `"msg":"serving"`) {
				up <- true
			}
		}
		close(up)
	}()
	if ready && !<-up {
		in.t.Fatalf("serve does not start:\n%s", s.log)
	}
	return s
}

// stop ends it by a signal and returns how it ended.
func (s *serving) stop(sig syscall.Signal) error {
	s.cmd.Process.Signal(sig)
	<-s.end
	return s.cmd.Wait()
}

func (in *installation) login(ctx context.Context, user string) *xmpptest.Client {
	in.t.Helper()
	c, err := xmpptest.Dial(ctx, xmpptest.Login{Address: in.listen, JID: user + "@example.org/r", Password: chatters[user]})
	if err != nil {
		in.t.Fatal(err)
	}
	return c
}

// found returns the texts of all messages that a reviewer finds.
func (in *installation) found() map[string]bool {
	in.t.Helper()
	cmd := exec.Command(in.program, "search", "kind:message", "--json", "--config", in.config(), "--account", "reviewer", "--purpose", "crash test")
	cmd.Env, cmd.Stderr = append(os.Environ(), "CHAPERONE_PASSWORD="+deskPassword), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		in.t.Fatalf("search: %v", err)
	}
	texts := map[string]bool{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var h search.Hit
		if err := d.Decode(&h); errors.Is(err, io.EOF) {
			return texts
		} else if err != nil {
			in.t.Fatal(err)
		}
		texts[h.Text] = true
	}
}

// load talks through the gateway until it dies; what bob's client saw goes into saw.
func (in *installation) load(ctx context.Context, round int, saw *sync.Map) *sync.WaitGroup {
	bob, wg := in.login(ctx, "bob"), &sync.WaitGroup{}
	isMessage := func(s *xmpptest.Stanza) bool { return s.Local == "message" && s.Attr("type") != "error" }
	wg.Go(func() {
		for {
			m, err := bob.Next(ctx, isMessage)
			if err != nil {
				return
			}
			saw.Store(m.Body(), true)
		}
	})
	for _, user := range []string{"alice", "carol"} {
		c := in.login(ctx, user)
		wg.Go(func() {
			for i := 0; ; i++ {
				text := fmt.Sprintf("%s says number %d in round %d", user, i, round)
				select {
				case <-c.Done():
					return
				default:
				}
				if c.Say(ctx, "bob@example.org", fmt.Sprintf("%s-%d-%d", user, round, i), text) != nil {
					return
				}
			}
		})
	}
	return wg
}

// TestKilledAtAnyMoment kills the real program at random moments under load, and while it starts and catches up: whatever a recipient saw
// is found by search afterwards, and what is left always verifies against the checkpoints kept outside (laws 1 and 4).
func TestKilledAtAnyMoment(t *testing.T) {
	kills := 20
	switch {
	case os.Getenv("CHAPERONE_SOAK") == "1":
		kills = 200
	case testing.Short():
		kills = 3
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(kills)*time.Minute)
	defer cancel()
	in := install(t, ctx)
	var saw sync.Map
	for round := range kills {
		if round%3 == 2 { // while it starts: ledger and projections catch up with the journal
			s := in.start(false)
			time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
			s.stop(syscall.SIGKILL)
			continue
		}
		s := in.start(true)
		wg := in.load(ctx, round, &saw)
		time.Sleep(time.Duration(20+rand.IntN(600)) * time.Millisecond)
		s.stop(syscall.SIGKILL)
		wg.Wait()
		proven := ""
		if sent, _ := os.ReadDir(in.drop); len(sent) > 0 {
			proven = "PROVEN since"
		}
		in.says(0, proven, "verify", "--checkpoint", in.drop, filepath.Join(in.dir, "data"))
	}
	s := in.start(true)
	wg := in.load(ctx, kills, &saw)
	for count(&saw) < kills && ctx.Err() == nil { // a slow machine brought little in the moments that it had
		time.Sleep(10 * time.Millisecond)
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, s.log)
	}
	wg.Wait()
	in.says(0, "PROVEN since", "verify", "--checkpoint", in.drop, filepath.Join(in.dir, "data"))
	texts, seen := in.found(), 0
	saw.Range(func(text, _ any) bool {
		seen++
		if !texts[text.(string)] {
			t.Errorf("%q was delivered and is not found", text)
		}
		return true
	})
	t.Logf("%d kills, %d messages found, %d seen by the recipient", kills, len(texts), seen)
	if seen < kills {
		t.Errorf("only %d messages arrived: no load", seen)
	}
}

func count(m *sync.Map) (n int) {
	m.Range(func(_, _ any) bool { n++; return true })
	return n
}

// TestServeFailsAsStated tries what goes wrong on real machines: an address that is taken, a second process, a server behind that dies, a
// stop under load.
func TestServeFailsAsStated(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	in := install(t, ctx)
	taken, err := net.Listen("tcp", in.listen)
	if err != nil {
		t.Fatal(err)
	}
	in.says(2, "hint: another process has the address", "serve", "--config", in.config())
	taken.Close()
	in.configure("metrics: {listen: \"" + in.prosody.Address + "\"}\n")
	in.says(2, "hint: another process has the address", "serve", "--config", in.config())
	in.configure("")
	s := in.start(true)
	in.says(2, "hint: one process writes a data directory", "serve", "--config", in.config())
	alice := in.login(ctx, "alice")
	in.prosody.Kill()
	select {
	case <-alice.Done():
	case <-ctx.Done():
		t.Error("the client of a dead server was not told")
	}
	if _, err := xmpptest.Dial(ctx, xmpptest.Login{Address: in.listen, JID: "alice@example.org/r", Password: chatters["alice"]}); err == nil || ctx.Err() != nil {
		t.Errorf("signing in to a dead server: %v", err)
	}
	if err := in.prosody.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var saw sync.Map
	wg := in.load(ctx, 1, &saw)
	for time.Sleep(500 * time.Millisecond); count(&saw) == 0 && ctx.Err() == nil; {
		time.Sleep(10 * time.Millisecond)
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM under load: %v\n%s", err, s.log)
	}
	wg.Wait()
	texts, seen := in.found(), 0
	saw.Range(func(text, _ any) bool {
		seen++
		if !texts[text.(string)] {
			t.Errorf("%q was delivered and is not found", text)
		}
		return true
	})
	if seen == 0 {
		t.Error("nothing arrived after the server came back")
	}
}
