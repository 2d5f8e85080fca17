//go:build unix

package sandbox

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// link is the parent's end of the way to a child: a socket pair, over which open files go.
type link struct{ sock *os.File }

// connect starts a child that has the other end.
func connect(cmd *exec.Cmd, _ uint64) (*link, error) {
	ours, theirs, err := ends()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	// The child alone must hold its end, so that its death is seen at once.
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	return &link{ours}, nil
}

func ends() (ours, theirs *os.File, err error) {
	fds, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	theirs = os.NewFile(uintptr(fds[1]), "sandbox child")
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(fds[0]), theirs.Close())
	}
	return os.NewFile(uintptr(fds[0]), "sandbox"), theirs, nil
}

// Read reads what the child says.
func (l *link) Read(p []byte) (int, error) { return l.sock.Read(p) }

// Close ends the way.
func (l *link) Close() error { return l.sock.Close() }

// until sets when waiting ends.
func (l *link) until(t time.Time) error { return l.sock.SetDeadline(t) }

// rest: a socket may wait for as long as it likes.
func (l *link) rest() {}

// send writes a request; the descriptor goes with its head.
func (l *link) send(head, body []byte, f *os.File) error {
	file, err := f.SyscallConn()
	if err != nil {
		return err
	}
	raw, err := l.sock.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = file.Control(func(fd uintptr) {
		rights := unix.UnixRights(int(fd))
		sent = errors.Join(raw.Write(func(s uintptr) bool {
			sent = unix.Sendmsg(int(s), head, rights, nil, noSignal)
			return !errors.Is(sent, unix.EAGAIN)
		}), sent)
	})
	if err := errors.Join(err, sent); err != nil {
		return err
	}
	_, err = l.sock.Write(body)
	return err
}
