// Package holder owns the fanotify descriptor of the execution control. It is the process that must not fail: it runs as root without
// network, reads no file's content, and holds no policy.
//
// The kernel stops whoever starts a program until the holder has answered. The holder hands the opened file to a worker and passes on what
// the worker says. What the worker allowed is in a table here, by device, inode, size and time of change, under one policy generation; such
// files are let through at once, and also while there is no worker. When no answer comes in time, the holder refuses, except what is in its
// tables: so a worker that is killed, stopped or replaced never opens the machine, and never bricks it. When the holder itself ends, the kernel lets
// everything through: its service manager starts it again.
//
// While a file that others than root can change is decided, and until its start went on, the holder has a read lease on it (package lease): nobody
// can open it for writing, so that what was looked at is what is started.
package holder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/fanotify"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/inflight"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/lease"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/ring"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/table"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/telemetry"
)

// Options are how a holder works. Binary and Command are needed.
type Options struct {
	Binary   string           // our own, which the worker and its parsers are started from; it is never asked about
	Command  func() *exec.Cmd // makes the command of a worker, in a process group of its own; its end of the socket becomes descriptor 3, what it is about to report (inflight) 4
	Opens    bool             // lockdown: also ask when a file is opened, and about every start
	Watch    bool             // monitor and learn: nothing is refused, also what nobody answers in time
	Only     string           // tests: mark nothing but file systems mounted at or below this folder, and never that of "/"
	Deadline time.Duration    // for the worker; default 2 s
	Start    time.Duration    // within which a worker must decide, else it is killed and started again; default 30 s
	Alive    func()           // called every now and then, each five seconds at least, while the loop turns
	Ready    func()           // called once, when the first worker decides and all file systems are marked
	Log      io.Writer        // written to outside of the decision path
	Signals  <-chan os.Signal // passed on to the worker, which ends on SIGTERM and is then started anew
}

const (
	maxSleep = 5 * time.Second
	maxGrace = time.Minute
)

// ask is one start that waits for its answer.
type ask struct {
	id       uint64
	fd       int
	thread   int32
	open     bool
	flags    uint8
	leased   bool
	key      wire.Key
	deadline time.Time
	sent     bool
	done     bool
}

// Holder is the state of the loop, which alone touches it.
type Holder struct {
	o       Options
	log     *slog.Logger
	group   *fanotify.Group
	marks   *fanotify.Marks
	wake    int
	changes chan change
	worker  *connection // nil while there is none
	memory  *os.File    // of what the workers are about to report; nil when there is none
	left    *inflight.Memory
	heard   time.Time   // when the worker last said something
	started bool        // the first worker was ready
	served  atomic.Bool // the worker of now was ready
	next    uint64
	pending map[uint64]*ask
	order   []*ask // pending and some that are done, by deadline
	leases  *lease.Set
	tables  *table.Tables
	grace   time.Duration // how long a worker may be silent while somebody waits, before it is killed
}

// Run holds until the context ends. It returns an error when it cannot begin: no rights, no fanotify, a worker that is never ready.
func Run(ctx context.Context, o Options) error {
	o.Deadline, o.Start = cmp.Or(o.Deadline, 2*time.Second), cmp.Or(o.Start, startTime)
	runtime.LockOSThread() // one thread of the loop, which never waits for another
	defer runtime.UnlockOSThread()
	h := &Holder{o: o, grace: o.Deadline, changes: make(chan change, 64), pending: map[uint64]*ask{}, tables: table.New(),
		leases: lease.New("/proc", func(thread int32) { _ = unix.Kill(int(thread), unix.SIGKILL) })}
	defer h.leases.Close()
	var err error
	if h.group, err = fanotify.NewGroup(); err != nil {
		return err
	}
	defer h.group.Close() // lets everything through that waits
	if h.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	defer unix.Close(h.wake)
	lines := ring.NewWriter(o.Log)
	defer lines.Close()
	h.log = telemetry.NewLog(lines, true, slog.LevelInfo)
	if h.marks, err = fanotify.NewMarks(h.group, o.Only, o.Opens); err != nil {
		return err
	}
	defer h.marks.Close()
	if h.memory, err = inflight.Create(); err == nil {
		defer h.memory.Close()
		h.left, err = inflight.Map(int(h.memory.Fd()))
	}
	h.complain(err) // without it more is lost with a worker
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); h.supervise(ctx) }()
	defer func() { cancel(); <-done }()
	return h.loop(ctx)
}

// loop waits for the kernel, the worker and the clock.
func (h *Holder) loop(ctx context.Context) error {
	defer context.AfterFunc(ctx, h.rouse)()
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(h.group.FD), Events: unix.POLLIN}, {Fd: int32(h.wake), Events: unix.POLLIN},
			{Fd: int32(h.marks.Table), Events: unix.POLLPRI}, {Fd: -1, Events: unix.POLLIN}}
		if h.worker != nil {
			fds[3].Fd = int32(h.worker.fd)
		}
		if _, err := unix.Poll(fds, h.patience()); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
		if fds[1].Revents != 0 {
			var b [8]byte
			_, _ = unix.Read(h.wake, b[:]) // it only wakes
			if err := h.changed(); err != nil {
				return err
			}
		}
		if fds[2].Revents != 0 && h.started {
			h.look()
		}
		if fds[3].Revents != 0 && h.worker != nil {
			h.listen()
		}
		if fds[0].Revents != 0 {
			if err := h.take(); err != nil {
				return err
			}
		}
		h.expire(time.Now())
		if h.o.Alive != nil {
			h.o.Alive()
		}
	}
	return nil
}

// look marks what is mounted by now, and forgets what was allowed where something else is.
func (h *Holder) look() {
	gone, err := h.marks.Update()
	h.complain(err)
	if gone != nil {
		h.tables.Leave(gone)
	}
}

// rouse wakes the loop.
func (h *Holder) rouse() { _, _ = unix.Write(h.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) } // it fails only when the loop is woken already

// patience is how long the loop may sleep, in milliseconds.
func (h *Holder) patience() int {
	next := maxSleep
	if len(h.order) > 0 {
		next = min(next, time.Until(h.order[0].deadline))
	}
	if look := h.leases.Next(); !look.IsZero() {
		next = min(next, time.Until(look))
	}
	if h.worker != nil && !h.worker.ready {
		next = min(next, time.Until(h.heard.Add(h.o.Start)))
	}
	return max(0, int(next/time.Millisecond)+1)
}

// take reads what the kernel asks.
func (h *Holder) take() error {
	events, err := h.group.Read()
	for _, e := range events {
		h.asked(e, time.Now())
	}
	if errors.Is(err, fanotify.ErrEvent) {
		return err
	}
	h.complain(err) // of one event that could not be made a descriptor, as when none is left
	return nil
}

// complain logs an error that changes nothing.
func (h *Holder) complain(err error) {
	if err != nil {
		h.log.Warn("watching", "error", err)
	}
}

// asked decides one event or hands it on.
func (h *Holder) asked(e fanotify.Event, now time.Time) {
	h.next++
	a := &ask{id: h.next, fd: e.FD, thread: e.Thread, open: e.Open, deadline: now.Add(h.o.Deadline)}
	var st unix.Stat_t
	own := h.worker != nil && !h.worker.ready && e.By(h.worker.process.Pid) // nobody else answers what a worker opens before it decides
	if err := unix.Fstat(a.fd, &st); own || err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		h.answer(a, own || a.open, unix.EPERM) // what is no regular file is not started; it is opened by many
		return
	}
	a.key = wire.KeyOf(&st)
	switch {
	case a.open: // a lease would make whoever opens it for writing wait for us
		a.flags = wire.Open
	case wire.RootOnly(&st):
		a.flags = wire.Quiet
	default:
		err := lease.Take(a.fd)
		if errors.Is(err, lease.ErrBusy) { // the kernel will not start it, unless who writes is quick
			h.answer(a, false, unix.ETXTBSY)
			return
		}
		if a.leased = err == nil; a.leased {
			a.flags = wire.Quiet
		}
	}
	if !h.o.Opens && h.knows(a) {
		h.complain(h.ignore(a)) // again, where the kernel let go of it
		h.answer(a, true, 0)
		return
	}
	h.pending[a.id] = a
	h.order = append(h.order, a)
	h.send(a)
}

// knows reports whether the tables let the file through.
func (h *Holder) knows(a *ask) bool { return h.tables.Know(a.key, a.flags&wire.Quiet != 0) }

// answer tells the kernel, and keeps the lease of what is started until the start went on.
func (h *Holder) answer(a *ask, allow bool, refusal unix.Errno) {
	a.done = true
	delete(h.pending, a.id)
	if allow && a.leased && h.leases.Full() {
		allow, refusal = false, unix.EAGAIN
	}
	h.complain(h.group.Answer(a.fd, allow, refusal))
	switch {
	case !a.leased:
		_ = unix.Close(a.fd)
	case !allow:
		lease.Release(a.fd)
	default:
		h.leases.Keep(a.fd, lease.File{Dev: a.key.Dev, Ino: a.key.Ino}, a.thread, time.Now())
	}
}

// hangs reports whether the worker hangs, or was stopped: it was silent for too long while somebody waited, or while it should come to decide.
func (h *Holder) hangs(late int, silent time.Duration) bool {
	w := h.worker
	return w != nil && (w.ready && late > 0 && silent > h.grace || !w.ready && h.started && silent > h.o.Start)
}

// expire answers what the worker left, and ends leases.
func (h *Holder) expire(now time.Time) {
	late, refused := 0, 0
	for len(h.order) > 0 && (h.order[0].done || !h.order[0].deadline.After(now)) {
		a := h.order[0]
		h.order[0] = nil
		h.order = h.order[1:]
		if a.done {
			continue
		}
		late++
		allow := h.o.Watch || h.knows(a)
		if !allow {
			refused++
		}
		h.answer(a, allow, unix.EPERM)
	}
	if refused > 0 && h.left != nil {
		h.left.Late(refused) // the next worker reports it
	}
	if late > 0 {
		h.log.Warn("no answer from the worker in time: decided by what was allowed before", "files", late)
	}
	if h.hangs(late, now.Sub(h.heard)) {
		h.worker.kill()
		h.grace = min(2*h.grace, maxGrace) // of the next one, in case that the machine is slow
	}
	if n := h.leases.Expire(now); n > 0 {
		h.log.Warn("killed what was started, did not come to run, and was to be written meanwhile", "processes", n)
	}
}
