package judge_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
)

// gate is an identifier that looks at files of the name "held" until it is opened.
type gate struct {
	identifier
	open chan struct{}

	mu         sync.Mutex
	held, most int
	begun      chan struct{}
}

func (g *gate) Identify(ctx context.Context, f *os.File, path string) ([]scan.Program, []scan.Problem, error) {
	if filepath.Base(path)[0] != 'h' {
		return g.identifier.Identify(ctx, f, path)
	}
	g.mu.Lock()
	g.held++
	g.most = max(g.most, g.held)
	g.mu.Unlock()
	g.begun <- struct{}{}
	select {
	case <-g.open:
	case <-ctx.Done():
	}
	g.mu.Lock()
	g.held--
	g.mu.Unlock()
	return nil, nil, ctx.Err()
}

// TestOneUserLeavesRoom has one user start more files than are looked at side by side. Two are looked at, and somebody else's is answered meanwhile.
func TestOneUserLeavesRoom(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root, to be two users")
	}
	crowd := exec.Command("/bin/sleep", "600")
	crowd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, Pdeathsig: unix.SIGKILL}
	if err := crowd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = crowd.Process.Kill(); _ = crowd.Wait() }()
	const asks = 40
	g := &gate{identifier: identifier{medium: "fixed"}, open: make(chan struct{}), begun: make(chan struct{}, 2*asks)}
	b := newBench(t, judge.Options{Rules: judge.Rules{Identifier: g}, Timeout: time.Minute})
	for i := range asks {
		path := filepath.Join(b.dir, "h"+strconv.Itoa(i))
		if err := os.WriteFile(path, []byte("program"), 0o755); err != nil {
			t.Fatal(err)
		}
		b.sendPath(path, wire.Quiet, int32(crowd.Process.Pid))
	}
	<-g.begun
	<-g.begun
	if m := b.ask("program", wire.Quiet); !m.Has(wire.Allow) {
		t.Error("somebody else's program is refused")
	}
	close(g.open)
	for range asks {
		if m := b.receive(); m.Kind != wire.Answer || !m.Has(wire.Allow) {
			t.Errorf("%+v", m)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.most != 2 {
		t.Errorf("%d files of one user were looked at side by side", g.most)
	}
}
