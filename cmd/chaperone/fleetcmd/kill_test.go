package fleetcmd_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/fleetcmd"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// serveToBeKilled serves until somebody kills it.
func serveToBeKilled(path string) int {
	cfg, err := config.Load(path)
	if err != nil {
		return 2
	}
	s, err := server.New(context.Background(), cfg, slog.New(slog.DiscardHandler), "test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	s.Run(context.Background(), func() {})
	return 0
}

// killed is a process that is killed now and then, and started again at once.
type killed struct {
	t    *testing.T
	args []string
	mu   sync.Mutex
	cmd  *exec.Cmd
	out  bytes.Buffer
}

func (k *killed) start() {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cmd = exec.Command("/proc/self/exe", k.args...)
	k.cmd.Stderr = &k.out
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := k.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
}

func (k *killed) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cmd.Process.Kill()
	k.cmd.Wait()
}

// TestKill: server and agent are killed again and again while findings come; each finding that the agent acknowledged is on record in the end.
func TestKill(t *testing.T) {
	h := newHouse(t)
	data := t.TempDir()
	conf := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(conf, []byte("data_dir: "+data+"\nagent: {server: \""+h.address+"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := h.serve()
	code := strings.TrimSpace(h.admin(0, "enroll-code"))
	state := fleetcmd.State(data)
	h.fleet(2, "enroll", "--state", state, "--server", h.address, "--wait", "1s", code)
	h.admin(0, "approve", "--all")
	h.fleet(0, "enroll", "--state", state, "--server", h.address, code)
	stop()

	serve := &killed{t: t, args: []string{"serve-to-be-killed", filepath.Join(h.dir, "chaperone.yaml")}}
	agent := &killed{t: t, args: []string{"fleet", "agent", "--config", conf}}
	serve.start()
	agent.start()
	acknowledged, rounds := 0, 8
	if testing.Short() {
		rounds = 2
	}
	remote := (&command.DataFlags{Config: conf}).Remote(&command.Env{Ctx: t.Context(), In: strings.NewReader(""), Out: &bytes.Buffer{}, ErrOut: &bytes.Buffer{}})
	for round := range rounds {
		until := time.Now().Add(time.Duration(500+rand.IntN(1000)) * time.Millisecond)
		begin := acknowledged
		for n := 0; time.Now().Before(until) || acknowledged == begin && time.Now().Before(until.Add(time.Minute)); n++ {
			e := &event.Event{Kind: event.FindingHit, Content: event.Content{Program: &event.Program{Path: fmt.Sprintf("/%d/%d", round, n)}}}
			if remote.Record(t.Context(), e) == nil {
				acknowledged++
			}
		}
		if round%2 == 0 {
			agent.kill()
			agent.start()
		} else {
			serve.kill()
			serve.start()
		}
	}
	for deadline := time.Now().Add(2 * time.Minute); !drained(state, h); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the spool is not empty\n%s\n%s", agent.out.String(), serve.out.String())
		}
	}
	agent.kill()
	serve.kill()
	onRecord := h.findings()
	if acknowledged < rounds || onRecord < acknowledged {
		t.Errorf("%d findings were acknowledged, %d are on record", acknowledged, onRecord)
	}
	t.Logf("%d findings acknowledged over %d kills, %d on record", acknowledged, rounds, onRecord)
}

// drained reports whether the agent has handed everything up: nothing lies in its spool.
func drained(state string, h *house) bool {
	segments, err := filepath.Glob(filepath.Join(state, "spool", "*.seg"))
	if err != nil || len(segments) != 1 {
		return false
	}
	info, err := os.Stat(segments[0])
	return err == nil && info.Size() == 0
}

// findings counts the findings on record, each once.
func (h *house) findings() int {
	h.t.Helper()
	j, _, err := file.Open(filepath.Join(h.dir, "data"), file.Options{Clock: clock.System{}})
	if err != nil {
		h.t.Fatal(err)
	}
	defer j.Close()
	seen := map[event.ID]bool{}
	for f, err := range j.Frames(h.t.Context(), journal.Local, 1) {
		if err != nil {
			h.t.Fatal(err)
		}
		for _, r := range f.Records {
			if head, err := event.ParseHeader(r.Header); err == nil && head.Kind == event.FindingHit {
				seen[head.ID] = true
			}
		}
	}
	return len(seen)
}
