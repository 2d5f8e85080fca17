package lease_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/lease"
)

// room is a set of leases, with one program and a made-up /proc in which thread 7 starts it.
type room struct {
	t       *testing.T
	set     *lease.Set
	program string
	proc    string
	file    lease.File
	killed  []int32
	now     time.Time
}

func newRoom(t *testing.T) *room {
	t.Helper()
	dir := t.TempDir()
	r := &room{t: t, program: filepath.Join(dir, "program"), proc: filepath.Join(dir, "proc"), now: time.Now()}
	if err := errors.Join(os.WriteFile(r.program, []byte("x"), 0o755), os.WriteFile(filepath.Join(dir, "other"), nil, 0o755), os.MkdirAll(r.proc+"/7", 0o755)); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(r.program, &st); err != nil {
		t.Fatal(err)
	}
	r.file = lease.File{Dev: uint64(st.Dev), Ino: st.Ino}
	r.set = lease.New(r.proc, func(thread int32) { r.killed = append(r.killed, thread) })
	t.Cleanup(r.set.Close)
	r.starting("running", 1000)
	return r
}

// starting says what thread 7 does: it runs another program still.
func (r *room) starting(syscall string, ran int) {
	r.t.Helper()
	r.exe("other")
	if err := errors.Join(os.WriteFile(r.proc+"/7/syscall", []byte(syscall+"\n"), 0o600), os.WriteFile(r.proc+"/7/schedstat", fmt.Appendf(nil, "%d 5 3\n", ran), 0o600)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *room) exe(name string) {
	r.t.Helper()
	_ = os.Remove(r.proc + "/7/exe")
	if err := os.Symlink(filepath.Join(filepath.Dir(r.program), name), r.proc+"/7/exe"); err != nil {
		r.t.Fatal(err)
	}
}

// start lets thread 7 start the program.
func (r *room) start() {
	r.t.Helper()
	fd, err := unix.Open(r.program, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := lease.Take(fd); err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			r.t.Fatal(err)
		}
		r.t.Skipf("no leases on this file system: %v", err)
	}
	r.set.Keep(fd, r.file, 7, r.now)
}

// later lets time pass, and the set look once.
func (r *room) later(d time.Duration) {
	r.now = r.now.Add(d)
	r.set.Expire(r.now)
}

// kept reports whether the set still has a lease; looking does not touch it.
func (r *room) kept() bool { return !r.set.Next().IsZero() }

// writable reports whether the program can be written without waiting. When not, whoever tried it counts as one who waits for a while.
func (r *room) writable() bool {
	r.t.Helper()
	fd, err := unix.Open(r.program, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false
	}
	if err != nil {
		r.t.Fatal(err)
	}
	_ = unix.Close(fd)
	return true
}

// TestUntilTheStartWentOn keeps a program from being written until the thread is past the point, however that shows.
func TestUntilTheStartWentOn(t *testing.T) {
	for name, test := range map[string]struct {
		then func(r *room)
		over bool
	}{
		"it runs the program":         {func(r *room) { r.exe("program") }, true},
		"it is gone":                  {func(r *room) { _ = os.RemoveAll(r.proc + "/7") }, true},
		"it waits for something else": {func(r *room) { r.starting("232 0x4 0x7ffd 0x1", 1000) }, true},
		"it is in no call":            {func(r *room) { r.starting("-1 0x7ffd 0x7f3c", 1000) }, true},
		"it has run since":            {func(r *room) { r.starting("running", 30e6) }, true},
		"it is another thread":        {func(r *room) { r.starting("running", 10) }, true},
		"it has hardly run":           {func(r *room) { r.starting("running", 10e6) }, false},
		"it starves":                  {func(*room) {}, false},
		"it waits in execve":          {func(r *room) { r.starting(fmt.Sprint(unix.SYS_EXECVE)+" 0x55 0x7f 0x0", 1000) }, false},
		"it waits in execveat":        {func(r *room) { r.starting(fmt.Sprint(unix.SYS_EXECVEAT)+" 0x55 0x7f 0x0", 1000) }, false},
		"it waits in execve, 32 bits": {func(r *room) { r.starting("11 0x55 0x7f 0x0", 1000) }, false},
		"x32":                         {func(r *room) { r.starting(fmt.Sprint(520|1<<30)+" 0x55", 1000) }, false},
		"nothing is told":             {func(r *room) { r.starting("", 1000) }, false},
		"there is no schedstat":       {func(r *room) { _ = os.Remove(r.proc + "/7/schedstat") }, true}, // the thread went between two looks
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			r.start()
			if r.later(lease.Look); !r.kept() {
				t.Fatal("over at once")
			}
			test.then(r)
			for range 3 {
				r.later(lease.Look)
			}
			if r.kept() == test.over {
				t.Fatalf("over: %v", !r.kept())
			}
			if r.writable() != test.over {
				t.Errorf("it can be written: %v", !test.over)
			}
		})
	}
}

// TestNotBefore ends no lease before its time, even when the start went on.
func TestNotBefore(t *testing.T) {
	r := newRoom(t)
	r.start()
	r.exe("program")
	if r.later(lease.Look - time.Millisecond); !r.kept() || r.set.Next() != r.now.Add(time.Millisecond) {
		t.Error("it is over")
	}
	if r.later(time.Millisecond); r.kept() {
		t.Error("it is not over")
	}
}

// TestOneLeaseForAll has one lease for several starts of a file, which lasts as long as one of them.
func TestOneLeaseForAll(t *testing.T) {
	r := newRoom(t)
	for range 5 {
		r.start()
	}
	b, err := os.ReadFile("/proc/self/fdinfo/" + fmt.Sprint(r.descriptor()))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "LEASE"); n != 1 {
		t.Errorf("%d leases:\n%s", n, b)
	}
	r.exe("program")
	r.later(lease.Look / 2)
	r.starting("running", 1000)
	r.start()
	r.exe("program")
	if r.later(lease.Look / 2); !r.kept() || r.writable() {
		t.Error("the last start has no lease")
	}
	r.later(lease.Look)
	if r.kept() || !r.writable() {
		t.Error("it cannot be written when all went on")
	}
}

// descriptor finds the one that has the program open.
func (r *room) descriptor() int {
	for fd := range 1000 {
		if name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); name == r.program {
			return fd
		}
	}
	r.t.Fatal("it is not open")
	return 0
}

// TestWhoWaitsToWrite kills a start that does not come to run while somebody wants to write, before the kernel lets him, and no other.
func TestWhoWaitsToWrite(t *testing.T) {
	r := newRoom(t)
	r.start()
	for range 1000 { // 200 s, and nobody wants to write
		r.later(lease.Look)
	}
	if !r.kept() || len(r.killed) > 0 {
		t.Fatal("it ended by itself")
	}
	if r.writable() {
		t.Fatal("it was written")
	}
	begun := r.now
	for len(r.killed) == 0 && r.now.Sub(begun) < time.Minute {
		r.later(lease.Look)
	}
	if took := r.now.Sub(begun); took < 20*time.Second || took > 40*time.Second || len(r.killed) != 1 || r.killed[0] != 7 || r.kept() {
		t.Errorf("killed %v after %s", r.killed, took)
	}
	if !r.writable() {
		t.Error("it cannot be written afterwards")
	}
}

// TestBusy takes no lease on what is open for writing.
func TestBusy(t *testing.T) {
	r := newRoom(t)
	w, err := os.OpenFile(r.program, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	f, err := os.Open(r.program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := lease.Take(int(f.Fd())); !errors.Is(err, lease.ErrBusy) {
		t.Error(err)
	}
}

// TestFull has a bound: what has no room must be refused.
func TestFull(t *testing.T) {
	r := newRoom(t)
	n := 0
	for ; !r.set.Full() && n < 100000; n++ {
		r.start()
	}
	if n != 4096 {
		t.Errorf("%d starts had room", n)
	}
	r.exe("program")
	if r.later(lease.Look); r.set.Full() || r.kept() {
		t.Error("there is no room afterwards")
	}
}
