package holder_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/holder"
)

// What a holder does with real events is tried in cmd/chaperone/agentcmd. These watch a folder in which nothing is mounted.

func options(t *testing.T, script string) holder.Options {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root, for fanotify")
	}
	return holder.Options{Binary: "/proc/self/exe", Only: t.TempDir(), Command: func() *exec.Cmd { return exec.Command("/bin/sh", "-c", script) }}
}

// TestAWorkerThatIsNeverReady ends the holder: nothing is watched yet, and whoever starts it must know.
func TestAWorkerThatIsNeverReady(t *testing.T) {
	err := holder.Run(t.Context(), options(t, "exit 3"))
	if err == nil || !strings.Contains(err.Error(), "never ready") {
		t.Error(err)
	}
}

func TestNoBinary(t *testing.T) {
	o := options(t, "exit 0")
	o.Binary = filepath.Join(t.TempDir(), "none")
	if err := holder.Run(t.Context(), o); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// ready is the message of a worker that decides, as a shell writes it to its descriptor 3.
const ready = `printf '\005%63s' '' | tr ' ' '\000' >&3; exec sleep 100`

// TestEnd ends with the context, and its worker with it. It says that it is alive meanwhile.
func TestEnd(t *testing.T) {
	o := options(t, ready)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	alive := 0
	o.Alive = func() { alive++ }
	o.Ready = cancel
	if err := holder.Run(ctx, o); err != nil {
		t.Error(err)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || alive == 0 {
		t.Error("it was never ready")
	}
}

// TestSignals are passed on to the worker, and a worker that ends is started again.
func TestSignals(t *testing.T) {
	o := options(t, ready)
	signals := make(chan os.Signal, 1)
	o.Signals = signals
	started := make(chan struct{}, 10)
	command := o.Command
	o.Command = func() *exec.Cmd { started <- struct{}{}; return command() }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Ready = func() { signals <- unix.SIGTERM }
	done := make(chan error)
	go func() { done <- holder.Run(ctx, o) }()
	<-started
	<-started
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestAWorkerThatHangsInItsStart is killed and started again, as one that was stopped there.
func TestAWorkerThatHangsInItsStart(t *testing.T) {
	o := options(t, "")
	o.Start = 300 * time.Millisecond
	started := make(chan struct{}, 10)
	n := 0
	o.Command = func() *exec.Cmd {
		started <- struct{}{}
		n++
		switch n {
		case 1: // decides, and ends
			return exec.Command("/bin/sh", "-c", `printf '\005%63s' '' | tr ' ' '\000' >&3`)
		case 2:
			return exec.Command("/bin/sleep", "1000")
		}
		return exec.Command("/bin/sh", "-c", ready)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() { done <- holder.Run(ctx, o) }()
	for range 3 {
		select {
		case <-started:
		case err := <-done:
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSize keeps the process that must not fail small: below 500 lines of code.
func TestSize(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") && !strings.HasSuffix(name, "_test.go") {
				n++
			}
		}
	}
	if n == 0 || n >= 500 {
		t.Errorf("the holder has %d lines", n)
	}
}

func TestNoRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may")
	}
	if err := holder.Run(t.Context(), holder.Options{}); !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
}
