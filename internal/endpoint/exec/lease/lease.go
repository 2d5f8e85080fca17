// Package lease keeps programs from being written between the answer that lets them start and the moment from which the kernel forbids it by
// itself (execve(2), ETXTBSY), by read leases (fcntl(2), F_SETLEASE).
//
// Whoever starts a program can see to it that this moment is long: at the lowest priority, beside others that do nothing but use up the
// processor, it is seconds. So a lease does not end by the clock, but when the start is seen to have gone on: the thread runs the program, or is
// gone, or waits for something else, or has used more of the processor than is left to do. As long as nobody wants to write, it lasts without end. Where
// somebody waits to write a program that is started and does not come to run, the kernel would let him after a while (fs.lease-break-time,
// 45 s): before that, who started it is killed.
package lease

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Look is how long after an answer, and how often, it is looked whether the start went on.
	Look      = 200 * time.Millisecond
	patience  = 30 * time.Second      // of somebody who waits to write
	enough    = 20 * time.Millisecond // of the processor: the kernel needs some microseconds
	maxStarts = 4096
)

// ErrBusy says that somebody has the file open for writing, or waits to.
var ErrBusy = errors.New("lease: the file is open for writing")

// Take takes a lease on an open file. Where it succeeds nobody has the file open for writing, and nobody can open it so until Release.
func Take(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	if errors.Is(err, unix.EAGAIN) {
		return ErrBusy
	}
	return err
}

// Release ends a lease and closes the file. The lease would else live as long as anybody has the same opened file.
func Release(fd int) {
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	_ = unix.Close(fd)
}

// File is a file, whatever its content.
type File struct{ Dev, Ino uint64 }

// held is a file with a lease: one is enough for all that start it, and each makes opening the file slower.
type held struct {
	fd     int
	starts int
}

// start is one start that may not have gone on yet.
type start struct {
	thread int32
	file   File
	look   time.Time
	ran    time.Duration // when it was looked at first; 0 when it was not
	asked  time.Time     // since when somebody is seen who waits to write
}

// Set are the leases of starts that were let through. It belongs to one goroutine.
type Set struct {
	proc   string
	kill   func(thread int32)
	starts []start // by the time of the next look
	files  map[File]*held
}

// New returns an empty set. Proc is where processes are looked up, /proc; kill ends the process of a thread.
func New(proc string, kill func(thread int32)) *Set {
	return &Set{proc: proc, kill: kill, files: map[File]*held{}}
}

// Full reports whether there is no room for another start, which must then be refused.
func (s *Set) Full() bool { return len(s.starts) >= maxStarts }

// Keep takes over the lease that fd has on a file which a thread may start now.
func (s *Set) Keep(fd int, file File, thread int32, now time.Time) {
	if h := s.files[file]; h != nil {
		h.starts++
		Release(fd)
	} else {
		s.files[file] = &held{fd, 1}
	}
	s.starts = append(s.starts, start{thread: thread, file: file, look: now.Add(Look)})
}

// Next is when Expire has something to do, the zero time when there is nothing.
func (s *Set) Next() time.Time {
	if len(s.starts) == 0 {
		return time.Time{}
	}
	return s.starts[0].look
}

// Expire ends the leases of those starts that went on. It returns how many it had to kill.
func (s *Set) Expire(now time.Time) (killed int) {
	for len(s.starts) > 0 && !s.starts[0].look.After(now) {
		t := s.starts[0]
		s.starts = s.starts[1:]
		done := s.wentOn(&t)
		if !done && s.overdue(&t, now) {
			s.kill(t.thread)
			killed++
			done = true
		}
		if !done {
			t.look = now.Add(Look)
			s.starts = append(s.starts, t)
			continue
		}
		h := s.files[t.file]
		if h.starts--; h.starts == 0 {
			Release(h.fd)
			delete(s.files, t.file)
		}
	}
	return killed
}

// Close ends all leases.
func (s *Set) Close() {
	for _, h := range s.files {
		Release(h.fd)
	}
	s.files, s.starts = map[File]*held{}, nil
}

// overdue reports whether somebody has waited to write as long as may be.
func (s *Set) overdue(t *start, now time.Time) bool {
	kind, err := unix.FcntlInt(uintptr(s.files[t.file].fd), unix.F_GETLEASE, 0)
	switch {
	case err == nil && kind == unix.F_RDLCK:
		t.asked = time.Time{}
	case t.asked.IsZero():
		t.asked = now
	}
	return !t.asked.IsZero() && now.Sub(t.asked) >= patience
}

// wentOn reports whether a thread is past the point from which the kernel keeps its program from being written, or will not come to it.
func (s *Set) wentOn(t *start) bool {
	dir := s.proc + "/" + strconv.Itoa(int(t.thread))
	var st unix.Stat_t
	err := unix.Stat(dir+"/exe", &st)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (File{uint64(st.Dev), st.Ino}) == t.file {
		return true // it is gone, or it runs the program
	}
	if text, err := os.ReadFile(dir + "/syscall"); err == nil && elsewhere(string(text)) {
		return true
	}
	text, err := os.ReadFile(dir + "/schedstat")
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) // it went between two looks; or the kernel was built without, which few are
	}
	ran, err := time.ParseDuration(strings.Split(string(text), " ")[0] + "ns")
	switch {
	case err != nil:
		return false
	case t.ran == 0:
		t.ran = ran + 1
		return false
	}
	return ran < t.ran-1 || ran-t.ran >= enough // another thread by now, or this one has run
}

// elsewhere reports whether a thread waits for something that is not the start of a program, by what proc_pid_syscall(5) says. A thread that
// runs or could run says nothing.
func elsewhere(text string) bool {
	number, err := strconv.Atoi(strings.Fields(text + " ?")[0])
	if err != nil {
		return false
	}
	switch number &^ (1 << 30) { // the bit of the x32 interface
	case unix.SYS_EXECVE, unix.SYS_EXECVEAT, 11, 358, 387, 520, 545: // of this interface, and of others that programs here may use
		return false
	}
	return true
}
