package agentcmd_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/fleetcmd"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/quickstart"
)

// house is the server of a fleet, whose policy forbids messengers.
type house struct {
	t       *testing.T
	config  string
	address string
}

// newHouse sets a server up and has it serve until the test ends.
func newHouse(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	if _, err := quickstart.Write(quickstart.Options{Dir: dir, Profile: "plain", Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2}); err != nil {
		t.Fatal(err)
	}
	address, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, config: filepath.Join(dir, "chaperone.yaml"), address: address}
	for path, text := range map[string]string{h.config: "policy: policy.yaml\nkeys: {unlock: \"file:data/keys/passphrase\"}\nfleet: {listen: \"" + address + "\"}\n", filepath.Join(dir, "policy.yaml"): denyPolicy} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(h.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, cfg, slog.New(slog.DiscardHandler), "test")
	if err != nil {
		t.Fatal(err)
	}
	up, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(up) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-up:
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	return h
}

// fleet runs `chaperone fleet`, which must end with a status.
func (h *house) fleet(ctx context.Context, status int, args ...string) string {
	h.t.Helper()
	var cli struct {
		Fleet fleetcmd.Command `cmd:""`
	}
	var out bytes.Buffer
	if got := command.Run(&cli, append([]string{"fleet"}, args...), &command.Env{Ctx: ctx, In: strings.NewReader(""), Out: &out, ErrOut: &out, Version: "1.2.3"}); got != status {
		h.t.Errorf("fleet %v: exit %d, want %d\n%s", args, got, status, out.String())
	}
	return out.String()
}

// admin runs a command on the server.
func (h *house) admin(args ...string) string {
	h.t.Helper()
	return h.fleet(h.t.Context(), 0, append(args, "--config", h.config)...)
}

// enrol takes a machine in, and keeps its client running until the test ends.
func (h *house) enrol(data, config string) {
	h.t.Helper()
	code := strings.TrimSpace(h.admin("enroll-code"))
	state := fleetcmd.State(data)
	h.fleet(h.t.Context(), 2, "enroll", "--state", state, "--server", h.address, "--wait", "1s", code)
	h.admin("approve", "--all")
	h.fleet(h.t.Context(), 0, "enroll", "--state", state, "--server", h.address, code)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { h.fleet(ctx, 0, "agent", "--config", config) })
	h.t.Cleanup(func() { cancel(); running.Wait() })
}

// requested waits for a request of a program, and returns its id.
func (h *house) requested(sum string) string {
	h.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		asked := h.admin("approvals")
		if id := regexp.MustCompile(`(?m)^([0-9a-f]{8}-[0-9a-f-]+) .*` + sum).FindStringSubmatch(asked); id != nil {
			return id[1]
		}
		if time.Now().After(end) {
			h.t.Fatalf("nobody asks for %s:\n%s", sum, asked)
		}
	}
}

// until starts a program again and again until that succeeds, or no more.
func (f *field) until(path string, starts bool) {
	f.t.Helper()
	for end := time.Now().Add(2 * time.Minute); f.starts(path) != starts; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("%s: started %v for two minutes", filepath.Base(path), !starts)
		}
	}
}

// TestRequestedApprovedRuns goes from a start that is refused over the request of the person and the approval at the server of the fleet to the same
// start, on a machine that stops what policy forbids and on one in lockdown; and back, when the approval is withdrawn.
func TestRequestedApprovedRuns(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	h := newHouse(t)
	data := filepath.Join(f.work, "data")
	conf := f.write(filepath.Join(f.work, "agent.yaml"), "data_dir: "+data+"\nagent: {server: \"https://"+h.address+"\"}\n", 0o600)
	h.enrol(data, conf)
	for _, test := range []struct{ mode, path, other string }{
		{"deny-list", f.program("client", messenger), f.program("other client", messenger+"x")},
		{"lockdown", f.program("unknown", "x"), f.program("other unknown", "y")},
	} {
		f.start("--config", conf, "--mode", test.mode)
		f.want(test.path, false)
		begun := time.Now()
		out := f.chaperone("agent", "request", "--socket", filepath.Join(f.work, "agent.sock"), "--reason", "for the press", test.path)
		sum := regexp.MustCompile(`[0-9a-f]{64}`).FindString(out)
		id := h.requested(sum)
		seen := time.Since(begun)
		f.want(test.path, false) // asking is not enough
		granted := regexp.MustCompile(`\(([0-9a-f]{12})\)`).FindStringSubmatch(h.admin("allow", "--request", id, "--for", "1h"))
		if granted == nil {
			t.Fatal("it is not approved")
		}
		approved := time.Now()
		f.until(test.path, true)
		t.Logf("%s: the request was at the server after %s, what was approved ran %s later", test.mode, seen.Round(time.Millisecond), time.Since(approved).Round(time.Millisecond))
		f.want(test.other, false)

		approved = time.Now()
		h.admin("withdraw", "--reason", "over", granted[1])
		f.until(test.path, false)
		t.Logf("%s: what was withdrawn was refused %s later", test.mode, time.Since(approved).Round(time.Millisecond))
		f.stop()
	}
}

// TestApprovedForAWhile is refused again when the time of an approval is over, with nobody doing anything.
func TestApprovedForAWhile(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	h := newHouse(t)
	data := filepath.Join(f.work, "data")
	conf := f.write(filepath.Join(f.work, "agent.yaml"), "data_dir: "+data+"\nagent: {server: \"https://"+h.address+"\"}\n", 0o600)
	h.enrol(data, conf)
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	bad := f.program("client", messenger)
	f.start("--config", conf)
	f.want(bad, false)
	ran := false
	for life := time.Second; !ran && life < 4*time.Minute; life *= 2 { // on a busy machine it is over before it came
		h.admin("allow", "--host", name, "--app", "telegram", "--reason", "a while", "--for", life.String())
		for end := time.Now().Add(life); !ran && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			ran = f.starts(bad)
		}
	}
	if !ran {
		t.Fatal("it never ran")
	}
	f.until(bad, false)
}
