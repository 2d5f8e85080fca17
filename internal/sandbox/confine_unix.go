//go:build linux || darwin

package sandbox

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	maxCPUSeconds = 600 // of one child's whole life; the parent replaces children long before
	maxOpenFiles  = 32
	nobody        = 65534 // -2 of macOS is this number in sixteen bits
)

// limit sets the resource limits. Under the race detector, which maps terabytes, memory is left to the runtime's own limit.
func limit(memory uint64) error {
	limits := []struct {
		what  int
		value uint64
		name  string
	}{
		{unix.RLIMIT_CORE, 0, "core"},
		{unix.RLIMIT_FSIZE, 0, "fsize"},
		{unix.RLIMIT_CPU, maxCPUSeconds, "cpu"},
		{unix.RLIMIT_NOFILE, maxOpenFiles, "nofile"},
		{unix.RLIMIT_DATA, memory, "data"},
	}
	var errs []error
	for _, l := range limits {
		if l.what == unix.RLIMIT_DATA && underRace {
			continue
		}
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: l.value, Max: l.value}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.name, err))
		}
	}
	return errors.Join(errs...)
}

// dropRoot becomes nobody on all threads; of root, setuid(2) and setgid(2) change the saved and effective numbers too.
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
