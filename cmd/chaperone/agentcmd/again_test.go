package agentcmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKilledHolder kills the holder (SIGKILL) while programs are started, and starts it again, as its service manager does: the programs of the system
// that were allowed before start at once, although the worker stands still and looks at nothing. What changed since does not, nor what
// another policy forbids.
func TestKilledHolder(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	user, bad := f.program("user", ""), f.program("bad", messenger)
	var system []string
	for i := range 20 {
		system = append(system, f.program("root-good-"+strconv.Itoa(i), strconv.Itoa(i)))
	}
	changed := f.program("root-changed", "a")
	f.start()
	for _, path := range append(system, changed, user) {
		f.want(path, true)
	}
	kept := filepath.Join(f.work, "data", "agent", "allowed")
	f.eventually("word of what was allowed", func() bool {
		info, err := os.Stat(kept)
		return err == nil && info.Size() >= int64(32*len(system)) && info.Mode().Perm() == 0o600
	})
	stop := make(chan struct{})
	var load sync.WaitGroup
	for _, path := range []string{user, bad, system[0]} {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
					_ = exec.Command(path).Run() // without a holder all starts, and for a moment after
				}
			}
		})
	}
	defer load.Wait()
	defer close(stop)

	f.stop()
	f.program("root-changed", messenger)
	f.again()
	f.standStill()
	begun := time.Now()
	for _, path := range system {
		if !f.starts(path) {
			t.Errorf("%s was allowed before the holder was killed, and does not start", filepath.Base(path))
		}
	}
	t.Logf("%d programs of the system started in %s without a worker", len(system), time.Since(begun))
	for _, path := range []string{changed, bad} { // also by the worker after that one
		if f.starts(path) {
			t.Errorf("%s started", filepath.Base(path))
		}
	}

	f.stop()
	sum := strings.Fields(f.run("sha256sum", system[1]))[0]
	f.write(filepath.Join(f.work, "policy.yaml"), strings.Replace(denyPolicy, "rules:\n", "rules:\n  - {id: known-bad, programs: {sha256: ["+sum+"]}, verdict: block}\n", 1), 0o644)
	f.again()
	f.standStill()
	if f.starts(system[1]) {
		t.Error("what was allowed under another policy started")
	}
}

// again starts the agent anew.
func (f *field) again() {
	f.t.Helper()
	f.log = &logBuffer{}
	f.startWith(f.log)
	f.await("agent decides")
}

// standStill stops the worker, or the one after it where the holder replaces it meanwhile.
func (f *field) standStill() {
	f.t.Helper()
	f.eventually("worker that stands still", func() bool {
		workers := f.workers()
		for _, pid := range workers {
			_ = unix.Kill(pid, unix.SIGSTOP)
		}
		return len(workers) == 1 && stands(workers[0])
	})
}

// eventually waits for something.
func (f *field) eventually(what string, is func() bool) {
	f.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("no %s:\n%s", what, f.log.String())
		}
	}
}
