package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// fewer rounds are enough where each is asked about.
const fewer = 500

// lockdown compares starts and opens where lockdown watches. Programs there are those of a package, by content.
func (b *bench) lockdown(f fields) error {
	locked, err := b.image("locked/field")
	if err != nil {
		return err
	}
	if err := errors.Join(fillField(locked), program(locked+"/probe", 1000, []byte("x"))); err != nil {
		return err
	}
	unix.Sync()
	time.Sleep(1200 * time.Millisecond) // until nothing is fresh
	if err := b.agent("lockdown", "locked", locked+"/probe"); err != nil {
		return err
	}
	m, err := interleave(rounds, start(f.bare+"/system"), start(locked+"/system"), start(f.bare+"/own"), start(locked+"/own"))
	if err != nil {
		return err
	}
	b.row("start, lockdown: of the system (root's)", m[0], m[1])
	b.row("start, lockdown: of a package, a user's file", m[2], m[3])
	if m, err = interleave(fewer, open(f.bare+"/system"), open(locked+"/system"), open(locked+"/idle")); err != nil {
		return err
	}
	b.row("open() and close(), lockdown: root's", m[0], m[1])
	b.row("open() and close(), lockdown: a user's", m[0], m[2])
	_, err = fmt.Fprintln(b.out, "\nOf lockdown no goal is set.")
	return err
}
