package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	maxCPUSeconds = 600
	maxOpenFiles  = 32
	nobody        = 65534 // -2 of macOS is this number in sixteen bits
)

// confine gives up what the child does not need, as far as macOS knows how to, and says what it could not give up.
func confine(memory uint64) Status {
	s := Status{Landlock: "macOS has no such thing", Seccomp: "macOS has no such thing"}
	debug.SetMemoryLimit(int64(memory / 4 * 3))
	s.Limits = reason(limit(memory))
	if os.Geteuid() == 0 {
		s.User = reason(dropRoot())
	}
	return s
}

func limit(memory uint64) error {
	var errs []error
	for _, l := range []struct {
		what  int
		value uint64
		name  string
	}{
		{unix.RLIMIT_CORE, 0, "core"}, {unix.RLIMIT_FSIZE, 0, "fsize"}, {unix.RLIMIT_CPU, maxCPUSeconds, "cpu"},
		{unix.RLIMIT_NOFILE, maxOpenFiles, "nofile"}, {unix.RLIMIT_DATA, memory, "data"},
	} {
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: l.value, Max: l.value}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.name, err))
		}
	}
	return errors.Join(errs...)
}

func dropRoot() error {
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setgid(nobody); err != nil {
		return fmt.Errorf("setgid: %w", err)
	}
	if err := syscall.Setuid(nobody); err != nil {
		return fmt.Errorf("setuid: %w", err)
	}
	return nil
}
