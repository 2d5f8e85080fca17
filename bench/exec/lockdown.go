package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// opened is how often a file is opened for one measurement.
const opened = 20000

// lockdown compares starts and opens where lockdown watches. Programs there are those of a package, by content.
func (b *bench) lockdown() error {
	watched, err1 := b.image("locked/field")
	bare, err2 := b.image("unlocked/field")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for _, dir := range []string{watched, bare} {
		if err := errors.Join(program(dir+"/system", 0, nil), program(dir+"/own", 1000, nil), program(dir+"/probe", 1000, []byte("x"))); err != nil {
			return err
		}
	}
	unix.Sync()
	time.Sleep(1200 * time.Millisecond) // until nothing is fresh
	err := b.start(exec.Command(b.binary, "agent", "--mode", "lockdown", "--only", filepath.Join(b.dir, "locked"), "--policy", filepath.Join(b.dir, "policy.yaml"),
		"--data", filepath.Join(b.dir, "locked-data"), "--socket", filepath.Join(b.dir, "locked-socket")))
	if err != nil {
		return err
	}
	if err := refused(watched + "/probe"); err != nil {
		return fmt.Errorf("lockdown: %w", err)
	}
	return errors.Join(b.compare("lockdown: of the system (root's)", bare+"/system", watched+"/system"), b.compare("lockdown: of a package, a user's file", bare+"/own", watched+"/own"),
		b.opens("lockdown: open() and close(), root's file", bare+"/system", watched+"/system"), b.opens("lockdown: open() and close(), a user's", bare+"/own", watched+"/own"))
}

// opens alternates opening two files.
func (b *bench) opens(what, bare, watched string) error {
	times := [2][]time.Duration{}
	for range opened {
		for i, path := range []string{bare, watched} {
			begun := time.Now()
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				err = unix.Close(fd)
			}
			if err != nil {
				return fmt.Errorf("open %s: %w", path, err)
			}
			times[i] = append(times[i], time.Since(begun))
		}
	}
	for i := range times {
		slices.Sort(times[i])
	}
	plain, asked := median(times[0]), median(times[1])
	fmt.Fprintf(b.out, "%-46s %6.2f µs %6.2f µs %7.2f\n", what, microseconds(plain), microseconds(asked), float64(asked)/float64(plain))
	return nil
}
