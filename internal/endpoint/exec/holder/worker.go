package holder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

const (
	shortPause = 50 * time.Millisecond
	longPause  = 2 * time.Second
	startTime  = 30 * time.Second // within which a worker decides, else it is killed and started again
	goodLife   = 10 * time.Second // after which a worker that ends is started again almost at once
)

// connection is the socket to one worker.
type connection struct {
	fd      int
	process *os.Process
	ready   bool
}

func (c *connection) kill() { _ = c.process.Kill() } // it may have ended by itself

// change is what the supervisor tells the loop: a worker is there, or it is gone.
type change struct {
	up   *connection
	down error
}

// supervise keeps a worker running. Only here processes are started: the loop must answer while they start.
func (h *Holder) supervise(ctx context.Context) {
	pause := shortPause
	for ctx.Err() == nil {
		begun := time.Now()
		h.served.Store(false)
		err := h.work(ctx)
		if ctx.Err() != nil {
			return
		}
		h.tell(change{down: err})
		if h.served.Load() || time.Since(begun) > goodLife || killed(err) { // it is not one that cannot start
			pause = shortPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(pause*2, longPause)
	}
}

// killed reports whether a worker was ended by somebody else: it may start well the next time, and programs wait for it.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, _ := exit.Sys().(syscall.WaitStatus) // that of Linux
	return status.Signal() == unix.SIGKILL
}

func (h *Holder) tell(c change) { h.changes <- c; h.rouse() }

// work starts a worker and waits for its end.
func (h *Holder) work(ctx context.Context) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "worker")
	if err := errors.Join(unix.SetNonblock(fds[0], true), h.trustSelf()); err != nil {
		return errors.Join(err, unix.Close(fds[0]), theirs.Close())
	}
	cmd := h.o.Command()
	cmd.ExtraFiles = []*os.File{theirs}
	if h.memory != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, h.memory)
	}
	// Between fork and exec the starting thread cannot be interrupted, and exec waits for our own loop: a garbage collection, which
	// waits for all threads, would never end.
	percent := debug.SetGCPercent(-1)
	runtime.GC()
	err = cmd.Start()
	debug.SetGCPercent(percent)
	if err = errors.Join(err, theirs.Close()); err != nil {
		return errors.Join(fmt.Errorf("worker: %w", err), unix.Close(fds[0]))
	}
	h.tell(change{up: &connection{fd: fds[0], process: cmd.Process}})
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(unix.SIGTERM) })()
	quit := make(chan struct{})
	defer close(quit)
	go h.pass(cmd.Process, quit)
	cmd.WaitDelay = longPause
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	return errors.New("worker: ended")
}

// pass passes signals on to the worker.
func (h *Holder) pass(p *os.Process, quit <-chan struct{}) {
	for {
		select {
		case s := <-h.o.Signals:
			_ = p.Signal(s)
		case <-quit:
			return
		}
	}
}

// trustSelf has the kernel never ask about our own binary, which may be another one since the last start.
func (h *Holder) trustSelf() error {
	f, err := os.Open(h.o.Binary)
	if err != nil {
		return fmt.Errorf("own binary: %w", err)
	}
	defer f.Close()
	return h.group.Ignore(int(f.Fd()), false)
}

// changed takes what the supervisor says.
func (h *Holder) changed() error {
	for {
		select {
		case c := <-h.changes:
			if h.worker != nil {
				h.listen() // what it said before it ended counts
			}
			switch {
			case c.up != nil:
				h.hangUp()
				h.worker, h.heard = c.up, time.Now()
			case !h.started:
				return fmt.Errorf("the first worker was never ready: %w", c.down)
			default:
				h.hangUp()
				h.log.Warn("worker ended and is started again", "why", c.down.Error())
			}
		default:
			return nil
		}
	}
}

// hangUp closes the socket; what was sent is sent again to the next worker.
func (h *Holder) hangUp() {
	if h.worker == nil {
		return
	}
	_ = unix.Close(h.worker.fd)
	h.worker = nil
	for _, a := range h.pending {
		a.sent = false
	}
}

// send hands an ask to the worker. One that cannot take it yet gets it later.
func (h *Holder) send(a *ask) {
	if h.worker == nil || !h.worker.ready || a.sent {
		return
	}
	m := wire.Message{Kind: wire.Ask, Flags: a.flags, Thread: a.thread, ID: a.id, Key: a.key}
	err := unix.Sendmsg(h.worker.fd, m.Append(nil), unix.UnixRights(a.fd), nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	a.sent = err == nil
}

func (h *Holder) sendAll() {
	for _, a := range h.order {
		if !a.done && !a.sent {
			if h.send(a); !a.sent {
				return
			}
		}
	}
}

// listen takes what the worker says.
func (h *Holder) listen() {
	var b [wire.Size + 1]byte
	for range 256 {
		n, _, err := unix.Recvfrom(h.worker.fd, b[:], unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			return
		case err != nil, n == 0:
			h.hangUp() // the supervisor starts another
			return
		}
		m, err := wire.Parse(b[:n])
		if err != nil {
			h.log.Warn("the worker talks nonsense and is replaced")
			h.worker.kill()
			h.hangUp()
			return
		}
		h.heard = time.Now()
		h.hear(&m)
	}
}

func (h *Holder) hear(m *wire.Message) {
	switch m.Kind {
	case wire.Answer:
		h.answered(m)
	case wire.Generation:
		if h.tables.Renew(m.Generation) {
			h.complain(h.group.Forget())
			h.complain(h.trustSelf())
		}
	case wire.MustRun:
		h.tables.Must(m.Key)
	case wire.Ready:
		h.worker.ready = true
		h.served.Store(true)
		if !h.started {
			h.started = true
			h.look()
			if h.o.Ready != nil {
				h.o.Ready()
			}
		}
		h.sendAll()
	}
}

// answered carries out what the worker decided.
func (h *Holder) answered(m *wire.Message) {
	a := h.pending[m.ID]
	if a == nil { // it came too late, or is what was allowed before this holder was there
		if m.ID == 0 && m.Has(wire.Allow|wire.Remember) && h.tables.Current(m.Generation) {
			h.tables.Remember(m.Key)
		}
		return
	}
	h.grace = h.o.Deadline
	allow := m.Has(wire.Allow)
	if allow && h.tables.Current(m.Generation) {
		if m.Has(wire.Remember) && a.flags&wire.Quiet != 0 {
			h.tables.Remember(a.key)
		}
		if m.Has(wire.Ignore) {
			h.complain(h.ignore(a))
		}
	}
	h.answer(a, allow, unix.EPERM)
	h.sendAll()
}

// ignore has the kernel stop asking about a file until it is modified. Only for files that only root can change, as it looks now.
func (h *Holder) ignore(a *ask) error {
	var st unix.Stat_t
	if err := unix.Fstat(a.fd, &st); err != nil || !wire.RootOnly(&st) || wire.KeyOf(&st) != a.key {
		return err
	}
	if h.o.Opens && !a.open {
		return nil // in lockdown each start is looked at, to see a loader that is called directly
	}
	return h.group.Ignore(a.fd, a.open)
}
