package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/lease"
)

const (
	openRounds = 3000
	batch      = 10  // opens between two looks at the clock, which costs something itself
	leased     = 150 // rounds of a start, and opens soon after it
)

// open opens and closes a file some times; it returns what once took.
func open(path string) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		begun := time.Now()
		for range batch {
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				err = unix.Close(fd)
			}
			if err != nil {
				return 0, fmt.Errorf("open %s: %w", path, err)
			}
		}
		return time.Since(begun) / batch, nil
	}
}

// unaffected is what deny-list mode may add to what the kernel takes for itself: nothing that can be told from it.
const unaffected = 1.02

// floor is the goal of what is held to what the kernel takes.
func floor(ratio float64) goal {
	return goal{what: fmt.Sprintf("<= %.2f, %.2fx the kernel's", ratio*unaffected, unaffected), ratio: ratio * unaffected}
}

// opens compares opening and closing a file, which deny-list mode should leave alone. It is held to what the kernel takes for the mark alone;
// for a program of a user that was started once, for a mark and the lease that the agent had on it; and while it has it, for that.
func (b *bench) opens(f fields) error {
	over, err := leaseOn(f.marked + "/own")
	if err != nil {
		return err
	}
	lease.Release(over)
	now, err := leaseOn(f.marked + "/system")
	if err != nil {
		return err
	}
	defer lease.Release(now)
	time.Sleep(2 * lease.Look) // until nothing of the agent's is leased
	turns := []func() (time.Duration, error){open(f.bare + "/idle"), open(f.marked + "/idle"), open(f.watched + "/idle"), open(f.watched + "/system"),
		open(f.marked + "/own"), open(f.watched + "/own")}
	if f.asked != "" {
		turns = append(turns, open(f.unasked+"/system"), open(f.asked+"/system"))
	}
	m, err := interleave(openRounds, turns...)
	if err != nil {
		return err
	}
	kernel := floor(b.row("open() and close(), the kernel's: a mark", m[0], m[1]))
	b.row("    agent: a file never started", m[0], m[2], kernel)
	b.row("    agent: root's program", m[0], m[3], kernel)
	kernel = floor(b.row("open() and close(), the kernel's: a mark, a lease once", m[0], m[4]))
	b.row("    agent: a user's program, started before", m[0], m[5], kernel)
	if f.asked != "" {
		b.row("open() and close(), fapolicyd", m[6], m[7])
	}
	if m, err = soon(f); err != nil {
		return err
	}
	kernel = floor(b.row("open() and close(), the kernel's: a mark, a lease now", m[0], m[1]))
	b.row("    agent: a user's program, < 0.2 s after a start", m[0], m[2], kernel)
	return nil
}

// leaseOn takes a lease, as the agent does when a user's program is started.
func leaseOn(path string) (fd int, err error) {
	if fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return -1, err
	}
	if err := lease.Take(fd); err != nil {
		return -1, fmt.Errorf("lease on %s: %w", path, err)
	}
	return fd, nil
}

// soon opens a user's program that was started just before.
func soon(f fields) ([]time.Duration, error) {
	var times [3][]time.Duration
	for range leased {
		if _, err := once(f.watched + "/own"); err != nil {
			return nil, err
		}
		m, err := interleave(10, open(f.bare+"/idle"), open(f.marked+"/system"), open(f.watched+"/own"))
		if err != nil {
			return nil, err
		}
		for i := range times {
			times[i] = append(times[i], m[i])
		}
	}
	return []time.Duration{median(times[0]), median(times[1]), median(times[2])}, nil
}
