package retention

import (
	"context"
	"fmt"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Preview says what a hold would cover of what is on record now. What comes later is covered too.
type Preview struct {
	Records map[event.Kind]int // with content, by kind
	Files   int                // in these
	First   time.Time
	Last    time.Time
	Looked  int  // records looked at
	Partly  bool // there are more than were looked at: the numbers are the least that it would cover
}

// Total is how many records it would cover.
func (p Preview) Total() int {
	n := 0
	for _, k := range p.Records {
		n += k
	}
	return n
}

// Preview changes nothing, and looks at the newest records up to a number. It decides as holds do.
func (h *Holds) Preview(ctx context.Context, most int, scopes ...Scope) (Preview, error) {
	out := Preview{Records: map[event.Kind]int{}}
	var reaches []reach
	for _, s := range scopes {
		r, err := h.whole(ctx, s)
		if err != nil {
			return out, fmt.Errorf("preview hold: %w", err)
		}
		reaches = append(reaches, r)
	}
	for r, err := range h.records.Select(ctx, archive.Filter{Kinds: disposable()}, "") {
		if err != nil {
			return out, fmt.Errorf("preview hold: %w", err)
		}
		if out.Looked == most {
			out.Partly = true
			break
		}
		out.Looked++
		if !r.Erased && !r.KeyLost {
			out.count(r.Record, reaches)
		}
	}
	return out, nil
}

func (p *Preview) count(r archive.Record, reaches []reach) {
	s := subjectOf(r.Event)
	for _, x := range reaches {
		if !x.covers(s) {
			continue
		}
		p.Records[r.Event.Kind]++
		p.Files += len(r.Event.Files)
		if p.Last.IsZero() {
			p.Last = r.Event.Time
		}
		p.First = r.Event.Time
		return
	}
}
