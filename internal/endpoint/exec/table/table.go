// Package table keeps what a holder of the execution control lets through by itself: the programs that the machine cannot do without, and what
// was allowed under the policy in force. Both are flat tables of files at one state of their content, and bounded.
package table

import (
	"maps"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

const (
	maxKnown = 1 << 18
	maxMust  = 4096
)

// Tables belong to one goroutine.
type Tables struct {
	known, must map[wire.Key]struct{}
	current     uint64 // policy generation
}

// New returns empty tables.
func New() *Tables {
	return &Tables{known: map[wire.Key]struct{}{}, must: map[wire.Key]struct{}{}}
}

// Know reports whether a file is let through. What was allowed is only where it is quiet: where nobody can write it.
func (t *Tables) Know(key wire.Key, quiet bool) bool {
	if _, ok := t.must[key]; ok {
		return true
	}
	_, ok := t.known[key]
	return ok && quiet
}

// Remember keeps a file that was allowed. A full table is emptied, which is rare, and only slower.
func (t *Tables) Remember(key wire.Key) {
	if len(t.known) >= maxKnown {
		clear(t.known)
	}
	t.known[key] = struct{}{}
}

// Leave forgets what was allowed on devices that may be others by now.
func (t *Tables) Leave(gone func(device uint64) bool) {
	maps.DeleteFunc(t.known, func(k wire.Key, _ struct{}) bool { return gone(k.Dev) })
}

// Must keeps a program that the machine cannot do without. There is room for some thousands.
func (t *Tables) Must(key wire.Key) {
	if len(t.must) < maxMust {
		t.must[key] = struct{}{}
	}
}

// Current reports whether a policy generation is in force.
func (t *Tables) Current(generation uint64) bool { return generation == t.current }

// Renew puts another policy generation in force: what was allowed under the last is forgotten. It reports whether it is another.
func (t *Tables) Renew(generation uint64) bool {
	if generation == t.current {
		return false
	}
	t.current = generation
	clear(t.known)
	return true
}
