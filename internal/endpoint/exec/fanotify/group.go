// Package fanotify is the kernel's side of the execution control (fanotify(7)): a group that is asked before files are started or opened,
// and the file systems that it is asked about.
package fanotify

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Event is one question of the kernel. FD is the file, which the answer names and the caller closes.
type Event struct {
	FD     int
	Thread int32 // that waits
	Open   bool  // it opens the file; else it starts it
}

// By reports whether who waits is of a process group.
func (e *Event) By(group int) bool {
	its, err := unix.Getpgid(int(e.Thread))
	return err == nil && its == group
}

const (
	metadataSize = 24 // of struct fanotify_event_metadata
	bufferSize   = 4096
)

// ErrEvent says that the kernel sent what is no event.
var ErrEvent = errors.New("fanotify: malformed event")

// Group is a group of permission events. Read and Answer belong to one goroutine.
type Group struct {
	FD       int
	plain    bool // the kernel does not take error numbers
	buffer   [bufferSize]byte
	events   []Event
	response [8]byte
}

// NewGroup makes a group. It needs CAP_SYS_ADMIN in the first user namespace.
func NewGroup() (*Group, error) {
	// O_NONBLOCK: should a FIFO or a device ever be asked about, its opening must not wait.
	fd, err := unix.FanotifyInit(unix.FAN_CLOEXEC|unix.FAN_CLASS_PRE_CONTENT|unix.FAN_NONBLOCK|unix.FAN_UNLIMITED_QUEUE|unix.FAN_UNLIMITED_MARKS|
		unix.FAN_REPORT_TID, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC|unix.O_NOATIME|unix.O_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("fanotify: %w", err)
	}
	return &Group{FD: fd}, nil
}

// Close ends the group: whoever waits is let through.
func (g *Group) Close() error { return unix.Close(g.FD) }

// Read returns the events that are there, until the next call. An error that is not ErrEvent is about one event, which the kernel refuses.
func (g *Group) Read() ([]Event, error) {
	n, err := unix.Read(g.FD, g.buffer[:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("fanotify: %w", err)
	}
	g.events, err = parse(g.events[:0], g.buffer[:n])
	return g.events, err
}

// parse appends the events in b.
func parse(events []Event, b []byte) ([]Event, error) {
	for len(b) > 0 {
		if len(b) < metadataSize {
			return events, ErrEvent
		}
		e := binary.NativeEndian
		length, mask, fd := e.Uint32(b), e.Uint64(b[8:]), int32(e.Uint32(b[16:]))
		if length < metadataSize || uint64(length) > uint64(len(b)) {
			return events, ErrEvent
		}
		if fd >= 0 {
			events = append(events, Event{int(fd), int32(e.Uint32(b[20:])), mask&unix.FAN_OPEN_PERM != 0})
		}
		b = b[length:]
	}
	return events, nil
}

// Answer lets a file through, or refuses it with an error number where the kernel takes one (Linux 6.13).
func (g *Group) Answer(fd int, allow bool, refusal unix.Errno) error {
	code := uint32(unix.FAN_ALLOW)
	if !allow {
		code = unix.FAN_DENY
		if !g.plain && refusal != unix.EPERM {
			code |= uint32(refusal) << 24
		}
	}
	err := g.write(fd, code)
	if errors.Is(err, unix.EINVAL) && code != unix.FAN_ALLOW && code != unix.FAN_DENY {
		g.plain = true
		err = g.write(fd, unix.FAN_DENY)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) { // ENOENT: whoever asked was killed
		return fmt.Errorf("fanotify: answer: %w", err)
	}
	return nil
}

func (g *Group) write(fd int, code uint32) error {
	binary.NativeEndian.PutUint32(g.response[:], uint32(fd))
	binary.NativeEndian.PutUint32(g.response[4:], code)
	_, err := unix.Write(g.FD, g.response[:])
	return err
}

// Ignore has the kernel stop asking about one file until its content is modified. The mark does not keep the inode in memory where the kernel
// can do without.
func (g *Group) Ignore(fd int, opens bool) error {
	mask := uint64(unix.FAN_OPEN_EXEC_PERM)
	if opens {
		mask = unix.FAN_OPEN_PERM
	}
	const flags = unix.FAN_MARK_ADD | unix.FAN_MARK_IGNORED_MASK
	err := unix.FanotifyMark(g.FD, flags|unix.FAN_MARK_EVICTABLE, mask, fd, "")
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EEXIST) { // before Linux 5.19, or a lasting mark is there
		err = unix.FanotifyMark(g.FD, flags, mask, fd, "")
	}
	if err != nil {
		return fmt.Errorf("fanotify: ignore: %w", err)
	}
	return nil
}

// Forget takes back what the kernel was told to ignore.
func (g *Group) Forget() error {
	if err := unix.FanotifyMark(g.FD, unix.FAN_MARK_FLUSH, 0, unix.AT_FDCWD, ""); err != nil {
		return fmt.Errorf("fanotify: forget: %w", err)
	}
	return nil
}
