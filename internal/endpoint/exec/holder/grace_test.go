package holder

import (
	"io"
	"log/slog"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/fanotify"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/lease"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/table"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

// TestGrace gives each worker that comes after one that was silent twice the time, up to a bound, and the first time again once one answered.
func TestGrace(t *testing.T) {
	h := &Holder{o: Options{Deadline: 2 * time.Second, Start: time.Minute}, log: slog.New(slog.NewTextHandler(io.Discard, nil)), grace: 2 * time.Second,
		group: &fanotify.Group{FD: -1}, pending: map[uint64]*ask{}, tables: table.New(), leases: lease.New(t.TempDir(), func(int32) {}), started: true}
	now := time.Now()
	// round has somebody wait for a new worker, which says nothing for a time, and reports whether that was killed.
	round := func(ready bool, silent time.Duration) bool {
		t.Helper()
		cmd := exec.Command("/bin/sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		h.worker, h.heard = &connection{fd: -1, process: cmd.Process, ready: ready}, now
		h.next++
		a := &ask{id: h.next, fd: -1, deadline: now.Add(h.o.Deadline)}
		h.pending[a.id], h.order = a, append(h.order, a)
		now = now.Add(silent)
		h.expire(now)
		if !a.done || len(h.order) > 0 || len(h.pending) > 0 {
			t.Fatal("who waited for a silent worker has no answer")
		}
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
		status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		return ok && status.Signal() == unix.SIGKILL
	}
	for i, want := range []time.Duration{2, 4, 8, 16, 32, 60, 60} {
		want *= time.Second
		if h.grace != want {
			t.Fatalf("worker %d has %s, want %s", i, h.grace, want)
		}
		if want > h.o.Deadline && round(true, want) {
			t.Errorf("worker %d was killed although it had %s", i, want)
		}
		if !round(true, want+time.Millisecond) {
			t.Errorf("worker %d was not killed after %s", i, want)
		}
	}
	a := &ask{id: 1000, fd: -1}
	h.pending[a.id] = a
	h.answered(&wire.Message{Kind: wire.Answer, ID: a.id})
	if h.grace != h.o.Deadline {
		t.Errorf("after an answer it is %s", h.grace)
	}
	// One that does not decide yet has the time of a start, and that doubles what comes after it too.
	if round(false, h.o.Start) {
		t.Error("a worker was killed in its start")
	}
	if !round(false, h.o.Start+time.Millisecond) || h.grace != 2*h.o.Deadline {
		t.Errorf("a worker that does not come to decide goes on, or the next has %s", h.grace)
	}
	// One that nobody waits for may be silent.
	if h.worker.ready = true; h.hangs(0, time.Hour) {
		t.Error("a worker that nobody waits for is killed")
	}
}
