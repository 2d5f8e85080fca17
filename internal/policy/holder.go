package policy

import (
	"sync/atomic"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Holder holds the policy in force and lets it be replaced while others decide by it. It is a Decider.
type Holder struct {
	current atomic.Pointer[Policy]
}

var _ Decider = (*Holder)(nil)

// NewHolder returns a holder with p in force.
func NewHolder(p *Policy) *Holder {
	h := &Holder{}
	h.current.Store(p)
	return h
}

// Policy returns the policy in force.
func (h *Holder) Policy() *Policy { return h.current.Load() }

// Decide decides by the policy in force.
func (h *Holder) Decide(in *Input) event.Verdict { return h.current.Load().Decide(in) }

// Reload replaces the policy by what load returns, all or nothing: on an error the old policy stays in force and the error is returned,
// for a health item.
func (h *Holder) Reload(load func() (*Policy, error)) error {
	p, err := load()
	if err != nil {
		return err
	}
	h.current.Store(p)
	return nil
}
