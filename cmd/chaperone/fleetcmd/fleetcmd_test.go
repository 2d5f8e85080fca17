package fleetcmd_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
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
	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/updatetest"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/quickstart"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

func TestMain(m *testing.M) {
	sandbox.Child(os.Args, []sandbox.Parser{reveal.Parser()})
	inside = os.Getenv(updatetest.Inside) != ""
	if err := updatetest.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(os.Args) == 2 && os.Args[1] == "version" {
		fmt.Println("chaperone test")
		os.Exit(0)
	}
	if len(os.Args) > 2 && os.Args[1] == "serve-to-be-killed" {
		os.Exit(serveToBeKilled(os.Args[2]))
	}
	if len(os.Args) > 1 && os.Args[1] == "fleet" {
		var cli struct {
			Fleet fleetcmd.Command `cmd:""`
		}
		os.Exit(command.Run(&cli, os.Args[1:], &command.Env{Ctx: context.Background(), In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}))
	}
	os.Exit(m.Run())
}

// house is a folder that quickstart set up, with a server that serves a fleet.
type house struct {
	t       *testing.T
	dir     string
	address string
}

// fleet runs a command and checks its exit status.
func (h *house) fleet(status int, args ...string) string {
	h.t.Helper()
	var cli struct {
		Fleet fleetcmd.Command `cmd:""`
	}
	var out, errOut bytes.Buffer
	got := command.Run(&cli, append([]string{"fleet"}, args...), &command.Env{Ctx: h.t.Context(), In: strings.NewReader(""), Out: &out, ErrOut: &errOut, Version: "1.2.3"})
	if got != status {
		h.t.Fatalf("%v: exit %d, want %d\n%s%s", args, got, status, out.String(), errOut.String())
	}
	return out.String() + errOut.String()
}

// admin runs a command on the server.
func (h *house) admin(status int, args ...string) string {
	h.t.Helper()
	return h.fleet(status, append(args, "--config", filepath.Join(h.dir, "chaperone.yaml"))...)
}

func (h *house) has(text string, wants ...string) {
	h.t.Helper()
	for _, w := range wants {
		if !strings.Contains(text, w) {
			h.t.Errorf("%q is not in:\n%s", w, text)
		}
	}
}

func newHouse(t *testing.T) *house {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the user of the tests has no account")
	}
	h := &house{t: t, dir: t.TempDir()}
	if _, err := quickstart.Write(quickstart.Options{Dir: h.dir, Profile: "plain", Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2}); err != nil {
		t.Fatal(err)
	}
	at, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	h.address = at
	text := "policy: policy.yaml\nkeys: {unlock: \"file:data/keys/passphrase\"}\nfleet: {listen: \"" + h.address + "\"}\n"
	if err := os.WriteFile(filepath.Join(h.dir, "chaperone.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// serve serves until the function that it returns is called.
func (h *house) serve() (stop func()) {
	h.t.Helper()
	cfg, err := config.Load(filepath.Join(h.dir, "chaperone.yaml"))
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, cfg, slog.New(slog.DiscardHandler), "test")
	if err != nil {
		h.t.Fatal(err)
	}
	up, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(up) }) }()
	<-up
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(stop)
	return stop
}

// TestFleetFromTheCommandLine: a machine joins, is scanned, has a messenger removed and brought back, and gets an exception, all by commands.
func TestFleetFromTheCommandLine(t *testing.T) {
	h := newHouse(t)
	h.has(h.admin(2, "hosts"), "chaperone serve is the fleet's server")
	stop := h.serve()
	h.has(h.admin(0, "hosts"), "no machine belongs")
	code := strings.TrimSpace(h.admin(0, "enroll-code", "--uses", "2", "--comment", "tests"))
	h.has(h.admin(0, "codes"), "tests", "uid:0")
	state, files := t.TempDir(), t.TempDir()
	h.has(h.fleet(2, "once", "--state", state), "is not enrolled")
	h.has(h.fleet(2, "enroll", "--state", state, "--server", h.address, "CF1-NONSENSE"), "not an enrolment code")
	h.has(h.fleet(2, "enroll", "--state", state, "--server", "https://"+h.address+"/", "--wait", "1s", code), "approve")
	asked := h.fleet(2, "enroll", "--state", state, "--server", h.address, "--wait", "2s", code)
	print := regexp.MustCompile(`fingerprint is ([0-9a-f-]+)`).FindStringSubmatch(asked)
	if print == nil {
		t.Fatalf("no fingerprint: %s", asked)
	}
	h.has(h.admin(0, "pending"), print[1])
	h.has(h.admin(2, "approve"), "name the machines")
	h.has(h.admin(0, "approve", print[1]), "approved")
	h.has(h.fleet(0, "enroll", "--state", state, "--server", h.address, code), "belongs to the fleet")
	if _, err := scantest.WriteRenamedInstaller(files); err != nil {
		t.Fatal(err)
	}
	h.has(h.fleet(1, "once", "--state", state, files), "1 programs that it forbids", "0 reports wait")
	h.has(h.admin(0, "hosts", "--programs"), "current", "1.2.3 once")
	h.has(h.admin(0, "hosts", "--programs", "--json"), `"app":"telegram"`)
	h.campaign(state, files)
	h.byWords(state)
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	h.has(h.admin(2, "allow", "--app", "telegram", "--reason", "x"), "nobody is named")
	h.has(h.admin(0, "allow", "--host", name, "--app", "telegram", "--reason", "press office", "--for", "1h"), "approved until")
	h.has(h.fleet(0, "once", "--state", state, files), "0 programs that it forbids")
	id := regexp.MustCompile(`(?m)^([0-9a-f]{12}) `).FindStringSubmatch(h.admin(0, "approvals"))
	h.admin(0, "withdraw", "--reason", "over", id[1])
	h.fleet(1, "once", "--state", state, files)
	stop()
	h.has(h.fleet(1, "once", "--state", state, "--wait", "100ms", files), "the server is not reached", "1 programs that it forbids", "reports wait")
	h.serve()
	h.has(h.fleet(0, "once", "--state", state), "0 reports wait")
	h.has(h.admin(0, "refuse", "--reason", "stolen", name), "refused")
	h.has(h.admin(0, "hosts"), "revoked")
}

// campaign takes the file away, and back again.
func (h *house) campaign(state, files string) {
	h.t.Helper()
	h.has(h.admin(0, "campaign", "list"), "no campaign")
	planned := h.admin(0, "campaign", "plan", "--reason", "clean up", "--sha256", installer(), "telegram")
	id := regexp.MustCompile(`campaign ([0-9a-f]+):`).FindStringSubmatch(planned)[1]
	plan := regexp.MustCompile(`plan ([0-9a-f]{64})`).FindStringSubmatch(planned)[1]
	h.has(h.admin(2, "campaign", "start", "--plan", "x", id), "not the plan")
	before, err := os.ReadDir(files)
	if err != nil || len(before) != 1 {
		h.t.Fatalf("%v, %v", before, err)
	}
	h.has(h.admin(2, "campaign", "start", "--all", "--plan", plan, id), "no canary machine has begun", "--no-canary")
	h.has(h.admin(0, "campaign", "start", "--all", "--no-canary", "--plan", plan, id), "stage all")
	h.fleet(0, "once", "--state", state)
	if left, err := os.ReadDir(files); err != nil || len(left) != 0 {
		h.t.Errorf("%v, %v", left, err)
	}
	h.has(h.admin(0, "campaign", "show", id), "done: 1 of 1 files")
	h.has(h.admin(0, "campaign", "list"), "clean up")
	h.has(h.admin(0, "campaign", "undo", id), "undoing")
	h.fleet(0, "once", "--state", state)
	after, err := os.ReadDir(files)
	if err != nil || len(after) != 1 || after[0].Name() != before[0].Name() {
		h.t.Errorf("%v, %v", after, err)
	}
	h.has(h.admin(2, "campaign", "stop", id), "stage")
	h.has(h.admin(2, "campaign", "show", "nothing"), "no campaign")
}

// installer is the SHA-256 of what scantest writes: its version resource alone tells of it, so that somebody must have looked at it.
func installer() string { return fmt.Sprintf("%x", sha256.Sum256(scantest.Installer())) }

// byWords: a file that only words in it tell of stays, and the plan says so; it goes once somebody names it by its content, and comes back.
func (h *house) byWords(state string) {
	h.t.Helper()
	body, err := os.ReadFile("/bin/true")
	if err != nil {
		h.t.Fatal(err)
	}
	body = append(body, "\x00org.whispersystems.signal-desktop\x00textsecure-service.whispersystems.org\x00"...)
	dir, sum := h.t.TempDir(), fmt.Sprintf("%x", sha256.Sum256(body))
	file := filepath.Join(dir, "holiday")
	if err := os.WriteFile(file, body, 0o755); err != nil {
		h.t.Fatal(err)
	}
	there := func() bool {
		_, err := os.Lstat(file)
		return err == nil
	}
	h.has(h.fleet(1, "once", "--state", state, dir), "1 programs that it forbids")
	start := func(planned string) string {
		id := regexp.MustCompile(`campaign ([0-9a-f]+):`).FindStringSubmatch(planned)[1]
		h.admin(0, "campaign", "start", "--all", "--no-canary", "--plan", regexp.MustCompile(`plan ([0-9a-f]{64})`).FindStringSubmatch(planned)[1], id)
		h.fleet(0, "once", "--state", state)
		return id
	}
	planned := h.admin(0, "campaign", "plan", "--quarantine", "--reason", "clean up", "signal")
	h.has(planned, "holiday: not removed: evidence below identity grade (SHA-256 "+sum+")", "plan again with --sha256")
	if start(planned); !there() {
		h.t.Error("taken away by words alone")
	}
	h.has(h.admin(2, "campaign", "plan", "--sha256", "x", "--reason", "seen", "signal"), "is no SHA-256")
	planned = h.admin(0, "campaign", "plan", "--sha256", sum, "--reason", "seen", "signal")
	id := start(planned)
	if there() || strings.Contains(planned, "not removed") {
		h.t.Errorf("named, and still there %v: %s", there(), planned)
	}
	h.has(h.admin(0, "campaign", "show", id), "done: 1 of 1 files")
	h.admin(0, "campaign", "undo", id)
	h.fleet(0, "once", "--state", state)
	if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, body) {
		h.t.Errorf("it did not come back: %v", err)
	}
	if err := os.Remove(file); err != nil {
		h.t.Fatal(err)
	}
	h.fleet(0, "once", "--state", state, dir)
}

// TestOnceNeedsNoServer is of a machine that was never reached: it says what it lacks, and does nothing.
func TestOnceNeedsNoServer(t *testing.T) {
	h := &house{t: t}
	begin := time.Now()
	h.has(h.fleet(2, "once", "--state", t.TempDir(), "--wait", "1s"), "not enrolled", "chaperone fleet enroll")
	if time.Since(begin) > 30*time.Second {
		t.Error("it waits for a server that it cannot have")
	}
}
