// Package ack translates acknowledgements of stream management (XEP-0198) where not everything that comes in on one side goes out on the
// other: stanzas may be refused on the way, or added to it.
package ack

import (
	"errors"
	"slices"
)

// Fate is what became of a stanza on its way from its source to its destination.
type Fate int

// The fates of a stanza.
const (
	Forwarded Fate = iota // received from the source and sent to the destination
	Swallowed             // received from the source only: refused
	Injected              // sent to the destination only: made on the way
)

// ErrCounts says that a peer confirmed more stanzas than it was sent.
var ErrCounts = errors.New("more stanzas confirmed than were sent")

// ErrUnconfirmed says that too much is waiting for a confirmation.
var ErrUnconfirmed = errors.New("too many stanzas unconfirmed")

const (
	maxRuns = 16384
	maxHeld = 8 << 20 // bytes of injected stanzas
)

type run struct {
	fate Fate
	n    uint32
	raw  []byte // of an injected stanza, to inject it again after a resumption
}

// Counter translates the confirmations of one direction (XEP-0198, section 4). The destination confirms h stanzas that it received from
// here; the source must hear how many of its own are done with: those forwarded and confirmed, and those swallowed before, between or right
// after them. The queue holds the fates of what is not confirmed yet, in order, as runs. All counts are modulo 2^32.
//
// Invariant: source = forwarded + swallowed and dest = forwarded + injected, over all fates that left the queue.
type Counter struct {
	on     bool
	source uint32
	dest   uint32
	runs   []run
	held   int // bytes of raw in the runs
}

// Start begins counting from zero, as <enable/> and <enabled/> do.
func (c *Counter) Start() { *c = Counter{on: true} }

// Add notes the fate of the next stanza; raw is needed of an injected one.
func (c *Counter) Add(f Fate, raw []byte) error {
	if !c.on {
		return nil
	}
	if last := len(c.runs) - 1; last >= 0 && c.runs[last].fate == f && f != Injected {
		c.runs[last].n++
		return nil
	}
	if len(c.runs) >= maxRuns || c.held+len(raw) > maxHeld {
		return ErrUnconfirmed
	}
	c.held += len(raw)
	c.runs = append(c.runs, run{fate: f, n: 1, raw: raw})
	return nil
}

// Confirm takes a confirmation of h stanzas by the destination and returns the count that the source must hear.
func (c *Counter) Confirm(h uint32) (uint32, error) {
	left := h - c.dest
	for len(c.runs) > 0 {
		r := &c.runs[0]
		if r.fate == Swallowed {
			c.source += r.n
			c.runs = c.runs[1:]
			continue
		}
		if left == 0 {
			break
		}
		k := min(left, r.n)
		c.dest += k
		left -= k
		if r.fate == Forwarded {
			c.source += k
		}
		if r.n -= k; r.n == 0 {
			c.held -= len(r.raw)
			c.runs = c.runs[1:]
		}
	}
	if left != 0 {
		return 0, ErrCounts
	}
	return c.source, nil
}

// Resync is Confirm for a resumption: of what is not confirmed the source will send its own again, which is forgotten here. What was injected
// stays in the queue: it must be sent again from here, right after the resumption.
func (c *Counter) Resync(h uint32) (uint32, error) {
	n, err := c.Confirm(h)
	if err != nil {
		return 0, err
	}
	c.runs = slices.DeleteFunc(c.runs, func(r run) bool { return r.fate != Injected })
	return n, nil
}

// Injected returns the injected stanzas that are not confirmed, in order.
func (c *Counter) Injected() [][]byte {
	var out [][]byte
	for _, r := range c.runs {
		if r.fate == Injected {
			out = append(out, r.raw)
		}
	}
	return out
}
