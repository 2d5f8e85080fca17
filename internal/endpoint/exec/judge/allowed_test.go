package judge_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

// file writes a program that nobody but its owner may change.
func (b *bench) file(name, text string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// TestGoneDevice looks at a file again when its device may be another one, and only then.
func TestGoneDevice(t *testing.T) {
	var gone atomic.Bool
	b := newBench(t, judge.Options{Gone: func() func(uint64) bool {
		if !gone.Swap(false) {
			return nil
		}
		return func(uint64) bool { return true }
	}})
	path := b.file("program", "program")
	for i, step := range []struct {
		gone bool
		want int
	}{{false, 1}, {false, 1}, {true, 2}, {false, 2}} {
		gone.Store(step.gone)
		if !b.askPath(path, wire.Quiet).Has(wire.Allow) || b.id.count() != step.want {
			t.Errorf("%d: looked at %d times, want %d", i, b.id.count(), step.want)
		}
	}
}

// TestAllowed tells of what only root can change and starts from now on without asking, and of nothing else.
func TestAllowed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for files of others")
	}
	told := make(chan judge.Allowed, 10)
	b := newBench(t, judge.Options{Allowed: func(a judge.Allowed) { told <- a }})
	own, bad, system := b.file("own", "program"), b.file("bad", "messenger"), b.file("system", "program")
	if err := os.Chown(own, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{own, bad, system} {
		b.askPath(path, wire.Quiet)
	}
	var st unix.Stat_t
	if err := unix.Stat(system, &st); err != nil {
		t.Fatal(err)
	}
	if a := <-told; a != (judge.Allowed{Generation: 7, Key: wire.KeyOf(&st)}) || len(told) > 0 {
		t.Errorf("%+v, and %d more", a, len(told))
	}
}
