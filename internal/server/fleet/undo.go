package fleet

import (
	"fmt"
	"slices"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// answered reports whether a host has said what it brought back.
func (p *PlanHost) answered() bool { return p.Undone != nil && !p.Waiting }

// NotUndone counts the files that a host could bring back, was asked for, and did not.
func (p *PlanHost) NotUndone() int {
	if !p.answered() {
		return 0
	}
	return len(undoable(*p))
}

// undoID is another for each time that a host is asked: agents carry out an order once.
func (x *Campaign) undoID(p *PlanHost) string {
	if p.Again == 0 {
		return x.ID + "-undo"
	}
	return fmt.Sprintf("%s-undo%d", x.ID, p.Again)
}

// NotUndone counts the hosts that were asked and did not bring back all they could.
func (x Campaign) NotUndone() int {
	n := 0
	for i := range x.Hosts {
		if x.Hosts[i].NotUndone() > 0 {
			n++
		}
	}
	return n
}

// Standing is the stage, with on how many hosts something was not brought back.
func (x Campaign) Standing() string {
	if n := x.NotUndone(); n > 0 {
		return fmt.Sprintf("%s, %d failed", x.Stage, n)
	}
	return string(x.Stage)
}

// askAgain has the hosts that did not bring back all asked once more, for what is left.
func (x *Campaign) askAgain(now time.Time) {
	x.UndoneFrom = now
	for i := range x.Hosts {
		if p := &x.Hosts[i]; p.NotUndone() > 0 {
			p.Again, p.Waiting = p.Again+1, true
		}
	}
}

// undoable are the files that a host can bring back: those that it took into its quarantine and has not brought back. A removed package is
// brought back by its manager.
func undoable(p PlanHost) []protocol.OrderItem {
	if p.Done == nil {
		return nil
	}
	var out []protocol.OrderItem
	for _, o := range p.Done.Outcomes {
		back := p.Undone != nil && slices.ContainsFunc(p.Undone.Outcomes, func(u protocol.Outcome) bool { return u.Path == o.Path && u.Error == "" })
		if o.ID != "" && o.Error == "" && !back {
			out = append(out, protocol.OrderItem{Path: o.Path, SHA256: o.SHA256, ID: o.ID})
		}
	}
	return out
}

// undone keeps what a host brought back, beside what it had brought back before. What it says of one file twice counts once.
func (p *PlanHost) undone(r protocol.Report, now time.Time) {
	if before := p.Undone; before != nil {
		kept := *before
		if kept.Order != r.Order {
			kept.Outcomes = slices.DeleteFunc(slices.Clone(kept.Outcomes), func(o protocol.Outcome) bool { return o.Error != "" })
		}
		r = kept.With(r)
	}
	p.Undone, p.UndoneAt, p.Waiting = &r, now, false
}
