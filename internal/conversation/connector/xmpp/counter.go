package xmpp

import (
	"errors"
	"sync"
	"time"
)

// fate is what became of a stanza on its way through one direction of a session.
type fate int

const (
	forwarded fate = iota // received from the source and sent to the destination
	swallowed             // received from the source only: refused
	injected              // sent to the destination only: made by us
)

// errCounts says that a peer confirmed more stanzas than it was sent.
var errCounts = errors.New("more stanzas confirmed than were sent")

// errUnconfirmed says that too much is waiting for a confirmation.
var errUnconfirmed = errors.New("too many stanzas unconfirmed")

const maxRuns = 16384

type run struct {
	fate fate
	n    uint32
	raw  []byte // of an injected stanza, to inject it again after a resumption
}

// counter translates the confirmations of one direction (XEP-0198, section 4). The destination confirms h stanzas that it received from
// us; the source must hear how many of its own are done with: those forwarded and confirmed, and those swallowed before, between or right
// after them. The queue holds the fates of what is not confirmed yet, in order, as runs. All counts are modulo 2^32.
//
// Invariant: source = forwarded + swallowed and dest = forwarded + injected, over all fates that left the queue.
type counter struct {
	on     bool
	source uint32
	dest   uint32
	runs   []run
}

// start begins counting from zero, as <enable/> and <enabled/> do.
func (c *counter) start() { *c = counter{on: true} }

// add notes the fate of the next stanza.
func (c *counter) add(f fate, raw []byte) error {
	if !c.on {
		return nil
	}
	if last := len(c.runs) - 1; last >= 0 && c.runs[last].fate == f && f != injected {
		c.runs[last].n++
		return nil
	}
	if len(c.runs) >= maxRuns {
		return errUnconfirmed
	}
	c.runs = append(c.runs, run{fate: f, n: 1, raw: raw})
	return nil
}

// confirm takes a confirmation of h stanzas by the destination and returns the count that the source must hear.
func (c *counter) confirm(h uint32) (uint32, error) {
	left := h - c.dest
	for len(c.runs) > 0 {
		r := &c.runs[0]
		if r.fate == swallowed {
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
		if r.fate == forwarded {
			c.source += k
		}
		if r.n -= k; r.n == 0 {
			c.runs = c.runs[1:]
		}
	}
	if left != 0 {
		return 0, errCounts
	}
	return c.source, nil
}

// resync is confirm for a resumption: what is not confirmed will be sent again by the source, and is forgotten here. It returns the stanzas
// of our own that were lost.
func (c *counter) resync(h uint32) (uint32, [][]byte, error) {
	n, err := c.confirm(h)
	if err != nil {
		return 0, nil, err
	}
	var lost [][]byte
	for _, r := range c.runs {
		if r.fate == injected {
			lost = append(lost, r.raw)
		}
	}
	c.runs = nil
	return n, lost, nil
}

// account is what a session knows of its user, and what a resumed session takes over.
type account struct {
	mu       sync.Mutex
	full     string // authenticated JID with its resource
	bare     string
	joined   map[string]string // room → own nick
	asked    map[string]bool   // rooms whose join was judged, without an answer yet
	toServer counter
	toClient counter
	left     time.Time // when its last session was lost
	session  *session  // that has it now
}

func newAccount() *account { return &account{joined: map[string]string{}, asked: map[string]bool{}} }

func (a *account) jid() (full, bare string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.full, a.bare
}

func (a *account) nick(room string) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	nick, ok := a.joined[room]
	return nick, ok
}

// resumable holds the accounts that may be resumed, by the id the server gave (XEP-0198, section 5).
type resumable struct {
	mu  sync.Mutex
	ids map[string]*account
}

const maxResumable = 100_000

func (r *resumable) put(id string, a *account) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ids) >= maxResumable {
		return false
	}
	r.ids[id] = a
	return true
}

func (r *resumable) get(id string) *account {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ids[id]
}

// expire drops the accounts that were lost before t, and those that ended, and returns the lost ones.
func (r *resumable) expire(t time.Time) []*account {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lost []*account
	for id, a := range r.ids {
		a.mu.Lock()
		if a.session == nil && a.left.Before(t) {
			delete(r.ids, id)
			lost = append(lost, a)
		}
		a.mu.Unlock()
	}
	return lost
}
