package console

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Bounds of what a flow's page shows beside it.
const (
	nearWithin = 5 * time.Minute
	nearMost   = 30
)

type recordData struct {
	archive.Record
	Near []near
	More bool // there is more than is shown
}

// near is what the same machine did at that time: on record, or only observed.
type near struct {
	archive.Record
	Observed bool
	Times    int64
	Last     time.Time
}

// neighbours lists what a flow's machine did right before and after it, in order.
func (c *Console) neighbours(ctx context.Context, v *archive.View, r archive.Record) ([]near, bool, error) {
	host := r.Event.Host.Name
	if host == "" {
		host = r.Event.Host.Address
	}
	if host == "" {
		return nil, false, nil
	}
	after, before := r.Event.Time.Add(-nearWithin), r.Event.Time.Add(nearWithin)
	records, err := v.Events(ctx, archive.Filter{Who: []string{host}, Kinds: []event.Kind{event.FlowSeen, event.DNSQuery, event.WebRequest, event.ProgramRun, event.FindingHit},
		After: after, Before: before}, archive.Page{Limit: nearMost + 1})
	if err != nil {
		return nil, false, err
	}
	observed, err := v.Observations(ctx, archive.ObservedFilter{Host: host, After: after, Before: before}, archive.Page{Limit: nearMost})
	if err != nil {
		return nil, false, err
	}
	var out []near
	for _, x := range records.Items {
		if x.Event.ID != r.Event.ID {
			out = append(out, near{Record: x})
		}
	}
	for _, o := range observed.Items {
		out = append(out, near{Record: archive.Record{Event: o.Event, Action: o.Event.Verdict.Action, Rule: o.Event.Verdict.Rule}, Observed: true, Times: o.Times, Last: o.Last})
	}
	slices.SortStableFunc(out, func(a, b near) int { return a.Event.Time.Compare(b.Event.Time) })
	more := len(out) > nearMost || records.Next != "" || observed.Next != ""
	return out[:min(len(out), nearMost)], more, nil
}

func (c *Console) record(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	var d recordData
	if d.Record, err = v.Record(r.Context(), event.ID(r.FormValue("id"))); err == nil && d.Event.Flow != nil {
		d.Near, d.More, err = c.neighbours(r.Context(), v, d.Record)
	}
	return "record", d, err
}
