package agentcmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/event"
)

// killing is a worker that is killed again and again, and programs that are started all the while.
type killing struct {
	*field
	random             *rand.Rand
	stop               chan struct{}
	wg                 sync.WaitGroup
	denied             atomic.Int64 // starts of a messenger that were refused
	ran                atomic.Int64 // starts of a messenger that succeeded: there must be none
	known              atomic.Int64 // starts of a program that was allowed before: they always succeed
	fresh              atomic.Int64 // starts of a program that nobody saw before, allowed by a worker
	waited             atomic.Int64 // such starts that were refused, since no worker answered in time
	busy               atomic.Int64 // starts of a copy that another process of this test still had open for writing
	atStart, atWork    int          // workers that were killed before, and after, they allowed something
	stopped, abandoned int          // workers that were stopped before they were killed, and those that the holder had to kill
}

// TestKilledWorker kills the worker again and again at random instants of its life, also while it is started, while messengers and other
// programs are started all the time: no messenger starts, and what was allowed before always does. Some workers are stopped (SIGSTOP) first.
func TestKilledWorker(t *testing.T) {
	if !namespace(t) {
		return
	}
	kills := 50
	if os.Getenv("CHAPERONE_SOAK") == "1" {
		kills = 10000
	}
	if n, err := strconv.Atoi(os.Getenv("CHAPERONE_KILLS")); err == nil {
		kills = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	k := &killing{field: newField(t), random: rand.New(rand.NewPCG(seed, 1)), stop: make(chan struct{})}
	bad, good := k.program("bad", messenger), k.program("good", "")
	k.start()
	time.Sleep(1100 * time.Millisecond) // their change is not fresh any more, so what is allowed is remembered
	k.want(good, true)
	k.load(bad, good)
	for n := 1; n <= kills; n++ {
		k.kill()
		if n%100 == 0 {
			k.report(n)
			_ = os.Remove(filepath.Join(k.work, "data", "agent", "spool", "spool.jsonl")) // nobody records here, and each worker reads it
		}
	}
	close(k.stop)
	k.wg.Wait()
	k.report(kills)
	if k.ran.Load() > 0 || k.denied.Load() == 0 || k.fresh.Load() == 0 || k.known.Load() == 0 {
		t.Errorf("a messenger started %d times and was refused %d times; new programs started %d times, known ones %d times", k.ran.Load(),
			k.denied.Load(), k.fresh.Load(), k.known.Load())
	}
	k.recovers("after the kills")
}

func (k *killing) report(kills int) {
	k.t.Logf("%s: %d kills (%d at the start, %d at work, %d stopped before, %d left to the holder); messengers: %d refused, %d started; "+
		"programs: %d known and %d new ones started, %d new ones refused for want of a worker, %d busy", time.Now().Format(time.TimeOnly), kills,
		k.atStart, k.atWork, k.stopped, k.abandoned, k.denied.Load(), k.ran.Load(), k.known.Load(), k.fresh.Load(), k.waited.Load(), k.busy.Load())
}

// load starts programs side by side until it is stopped: a messenger that the worker knows, copies of it that neither table nor cache knows, a
// program that was allowed before, and new ones.
func (k *killing) load(bad, good string) {
	each := func(pause time.Duration, f func(n int)) {
		k.wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-k.stop:
					return
				case <-time.After(pause): // the worker needs a processor too
					f(n)
				}
			}
		})
	}
	each(4*time.Millisecond, func(int) { k.try(bad, &k.ran, &k.denied) })
	each(8*time.Millisecond, func(n int) { k.try(k.copyOf(bad, "bad "+strconv.Itoa(n%100)), &k.ran, &k.denied) })
	each(8*time.Millisecond, func(n int) { k.try(k.copyOf(good, "good "+strconv.Itoa(n%100)), &k.fresh, &k.waited) })
	var never atomic.Int64
	each(10*time.Millisecond, func(int) {
		if k.try(good, &k.known, &never); never.Load() > 0 {
			k.t.Error("a program that was allowed before did not start")
			never.Store(0)
		}
	})
}

// try starts a program and counts what came of it.
func (k *killing) try(path string, started, refused *atomic.Int64) {
	switch err := exec.Command(path).Run(); {
	case err == nil:
		started.Add(1)
	case errors.Is(err, unix.EPERM):
		refused.Add(1)
	case errors.Is(err, unix.ETXTBSY):
		k.busy.Add(1)
	default:
		k.t.Error(err)
	}
}

// kill kills one worker: a third of them while they are forked and started, a third until they decide, on this machine or a busy one, and a
// third while they decide. One of four is stopped first, and one of 300 is left so, for the holder to find.
func (k *killing) kill() {
	k.t.Helper()
	pid := k.awaitWorker()
	after := time.Duration(k.random.IntN(60_000)) * time.Microsecond
	switch k.random.IntN(3) {
	case 0:
		k.atStart++
	case 1:
		k.atStart++
		after *= 6
	case 2:
		before := k.fresh.Load()
		k.until(func() bool { return k.fresh.Load() != before }, "no worker allows anything")
		k.atWork++
		if k.random.IntN(100) == 0 && unix.Kill(pid, unix.SIGSTOP) == nil {
			k.abandoned++
			k.until(func() bool { return unix.Kill(pid, 0) != nil }, "the holder does not end a stopped worker")
			return
		}
	}
	time.Sleep(after)
	if k.random.IntN(4) == 0 && unix.Kill(pid, unix.SIGSTOP) == nil {
		k.stopped++
		time.Sleep(time.Duration(k.random.IntN(40_000)) * time.Microsecond)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	k.until(func() bool { return unix.Kill(pid, 0) != nil }, "a killed worker is still there")
}

// awaitWorker waits for a child of the holder, which may still be on its way from fork to exec.
func (k *killing) awaitWorker() int {
	k.t.Helper()
	pid := 0
	k.until(func() bool {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", k.agent.Process.Pid))
		for _, l := range lists {
			b, _ := os.ReadFile(l) // the thread may be gone
			for _, child := range bytes.Fields(b) {
				status, _ := os.ReadFile("/proc/" + string(child) + "/status")
				if n, err := strconv.Atoi(string(child)); err == nil && len(status) > 0 && !bytes.Contains(status, []byte("\nState:\tZ")) {
					pid = n
					return true
				}
			}
		}
		return false
	}, "there is no worker")
	return pid
}

// until waits for something.
func (k *killing) until(done func() bool, failure string) {
	k.t.Helper()
	for end := time.Now().Add(3 * time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			k.t.Fatal(failure)
		}
	}
}

// TestReportedAlthoughKilled kills the worker in the moment in which it refused: the next one reports that. What is refused without any worker is
// counted.
func TestReportedAlthoughKilled(t *testing.T) {
	if !namespace(t) {
		return
	}
	rounds := 8
	if os.Getenv("CHAPERONE_SOAK") == "1" {
		rounds = 300
	}
	f := newField(t)
	f.start()
	refused := map[string]bool{}
	for n := range rounds {
		f.recovers("good " + strconv.Itoa(n)) // a worker decides, so it is the worker that refuses
		bad := f.program("bad "+strconv.Itoa(n), messenger+strconv.Itoa(n))
		f.want(bad, false)
		for _, pid := range f.workers() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		refused[bad] = true
	}
	spool := filepath.Join(f.work, "data", "agent", "spool", "spool.jsonl")
	(&killing{field: f}).until(func() bool {
		b, _ := os.ReadFile(spool)
		for line := range bytes.Lines(b) {
			e := &event.Event{}
			if json.Unmarshal(line, e) == nil && e.Kind == event.ProgramRun && e.Verdict.Enforced {
				delete(refused, e.Program.Path)
			}
		}
		return len(refused) == 0
	}, "a refusal before a kill is not on record")

	f.recovers("good at the end")
	for _, pid := range f.workers() {
		_ = unix.Kill(pid, unix.SIGSTOP)
	}
	f.want(f.program("bad at the end", messenger+"x"), false) // by the holder, which ends the worker too
	f.spooled("count of what the holder refused", func(e *event.Event) bool {
		return e.Kind == event.Gap && strings.Contains(e.Explanation, "no worker answered in time")
	})
}
