package agentcmd_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// copyOf puts a copy beside, for a user.
func (f *field) copyOf(path, name string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		f.t.Error(err)
	}
	to := filepath.Join(f.dir, name)
	_ = os.Remove(to) // another inode
	if err := errors.Join(os.WriteFile(to, b, 0o755), os.Chown(to, 1000, 1000)); err != nil {
		f.t.Error(err)
	}
	return to
}

// recovers waits until a program that nobody knows yet starts again.
func (f *field) recovers(name string) {
	f.t.Helper()
	fresh := f.program(name, name)
	for end := time.Now().Add(2 * time.Minute); !f.starts(fresh); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatal("there is no worker any more")
		}
	}
}

// TestStoppedWorker stops the worker (SIGSTOP): what was allowed before starts at once, must-run programs too, what is new is refused after
// the deadline, what is denied stays denied. Then the worker is replaced.
func TestStoppedWorker(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	bad, good, fresh := f.program("bad", messenger), f.program("good", ""), f.program("fresh", "x")
	f.start()
	time.Sleep(1100 * time.Millisecond) // their change is not fresh any more
	f.want(good, true)
	f.want(bad, false)
	stopped := f.workers()
	if len(stopped) != 1 {
		t.Fatalf("workers %v", stopped)
	}
	if err := unix.Kill(stopped[0], unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); !stands(stopped[0]) && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if !f.starts(good) {
		t.Error("what was allowed before does not start")
	}
	if !stands(stopped[0]) {
		t.Error("what was allowed before waited for another worker")
	}
	begun := time.Now()
	f.want(fresh, false)
	if took := time.Since(begun); took < time.Second || took > time.Minute {
		t.Errorf("what is new was refused after %s", took)
	}
	f.want(bad, false)
	f.recovers("after the stop")
	if slices.Contains(f.workers(), stopped[0]) {
		t.Error("the stopped worker is still there")
	}
	f.want(fresh, true)
	f.want(bad, false)
}

// TestStoppedWorkerInMonitor stops the worker where nothing is to be stopped: what waits for it starts when its time is over.
func TestStoppedWorkerInMonitor(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	bad, fresh := f.program("bad", messenger), f.program("fresh", "x")
	f.start("--mode", "monitor")
	workers := f.workers()
	for end := time.Now().Add(2 * time.Minute); len(workers) != 1 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		workers = f.workers() // a child on its way to become another program looks like one
	}
	if len(workers) != 1 {
		t.Fatalf("workers %v", workers)
	}
	if err := unix.Kill(workers[0], unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); !stands(workers[0]) && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	for _, path := range []string{fresh, bad} {
		if !f.starts(path) {
			t.Errorf("%s was refused in monitor mode", filepath.Base(path))
		}
	}
	f.await("no answer from the worker in time")
}

// stands reports whether a process is stopped.
func stands(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(stat), ") T ")
}

// TestOwnBinaryIsWatchedToo starts the agent from the file system that it watches, and starts its worker anew from there: it must not wait for
// itself.
func TestOwnBinaryIsWatchedToo(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	own := filepath.Join(f.dir, "chaperone")
	f.run("cp", f.binary, own)
	f.binary = own
	bad := f.program("bad", messenger)
	f.start()
	f.want(bad, false)
	first := f.workers()
	if err := f.agent.Process.Signal(unix.SIGUSR1); err != nil { // as after an upgrade
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if now := f.workers(); len(now) == 1 && now[0] != first[0] {
			break
		} else if time.Now().After(end) {
			t.Fatalf("workers %v, then %v", first, now)
		}
	}
	f.recovers("after an upgrade")
	f.want(bad, false)
}

// TestFullLogPipe stops reading the agent's log, until the pipe is full: the agent says less, and decides on.
func TestFullLogPipe(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	bad := f.program("bad", messenger)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f.startWith(w)
	fd := int(w.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for fill := make([]byte, 4096); ; {
		if _, err := unix.Write(fd, fill); err != nil {
			break
		}
	}
	if err := unix.SetNonblock(fd, false); err != nil { // the agent's end is the same
		t.Fatal(err)
	}
	for i := range 5 {
		for _, pid := range f.workers() { // each is worth a line of the holder, and some of the next worker
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		f.recovers("good " + strconv.Itoa(i))
		for range 30 {
			f.want(bad, false)
		}
	}
}

// TestPolicyOnReload puts a changed policy in force without a gap, and keeps the old one when the new one is broken.
func TestPolicyOnReload(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	good := f.program("good", "")
	f.start()
	time.Sleep(1100 * time.Millisecond)
	f.want(good, true)
	sum := strings.Fields(f.run("sha256sum", good))[0]
	policy := filepath.Join(f.work, "policy.yaml")
	f.write(policy, strings.Replace(denyPolicy, "rules:\n", "rules:\n  - {id: known-bad, programs: {sha256: ["+sum+"]}, verdict: block}\n", 1), 0o644)
	_ = f.agent.Process.Signal(unix.SIGHUP)
	for end := time.Now().Add(2 * time.Minute); f.starts(good); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the new policy is not in force")
		}
	}
	f.write(policy, "version: broken", 0o644)
	_ = f.agent.Process.Signal(unix.SIGHUP)
	f.await("the old policy stays in force")
	f.want(good, false)
}
