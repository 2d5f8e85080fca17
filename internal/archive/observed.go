package archive

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// ActFold is the act that observations became hourly counts without names.
const ActFold = "observations.fold"

// Observed is one observation: what was seen, and allowed or is unknown. The same again within an hour is the same observation. It is no
// record: it has no id, and nothing proves it.
type Observed struct {
	Event *event.Event // as it was the first time; packets and bytes are those of all times
	Last  time.Time
	Times int64
}

// Hour returns the hour that an observation is of.
func (o *Observed) Hour() time.Time { return o.Event.Time.UTC().Truncate(time.Hour) }

// Traffic returns the packets and bytes of an observation.
func (o *Observed) Traffic() (packets, bytes int64) {
	if f := o.Event.Flow; f != nil {
		return f.Packets, f.Bytes
	}
	return 0, 0
}

// ObservedFilter selects observations. Empty fields select all.
type ObservedFilter struct {
	Host   string // name, address, id, or the person whose it is
	App    string
	After  time.Time
	Before time.Time
}

// HourCount is what remains of observations: how many, without names and addresses.
type HourCount struct {
	Hour    time.Time
	Kind    event.Kind
	App     string
	Action  event.Action
	Times   int64
	Packets int64
	Bytes   int64
}

// Observations is what the archive needs of a driver to give observations back.
type Observations interface {
	// Observed yields the observations of a filter, the newest first, from the cursor on ("" for the first), each with the cursor after it.
	Observed(ctx context.Context, f ObservedFilter, cursor string) iter.Seq2[SelectedObservation, error]
	// Hours returns the hourly counts in [from, to), the oldest first, of observations that were folded.
	Hours(ctx context.Context, from, to time.Time) ([]HourCount, error)
}

// SelectedObservation is an observation and the cursor behind it.
type SelectedObservation struct {
	Observed
	Cursor string
}

// Observations lists observations, the newest first. They name machines and sites, so each look is on record as that at any content.
func (v *View) Observations(ctx context.Context, f ObservedFilter, page Page) (Part[Observed], error) {
	if err := v.Look(ctx, object("observations", describeObserved(f))); err != nil {
		return Part[Observed]{}, err
	}
	if v.archive.driver.Observations == nil {
		return Part[Observed]{}, nil
	}
	var err error
	if f.Host, err = v.Name(ctx, f.Host); err != nil {
		return Part[Observed]{}, err
	}
	var out Part[Observed]
	cursor := page.Cursor
	for s, err := range v.archive.driver.Observations.Observed(ctx, f, page.Cursor) {
		if err != nil {
			return Part[Observed]{}, err
		}
		if len(out.Items) == page.Size() {
			out.Next = cursor
			break
		}
		out.Items = append(out.Items, lift(v, s.Observed))
		cursor = s.Cursor
	}
	return out, nil
}

// Hours returns the hourly counts of folded observations in [from, to). They name nobody.
func (a *Archive) Hours(ctx context.Context, from, to time.Time) ([]HourCount, error) {
	if a.driver.Observations == nil {
		return nil, nil
	}
	return a.driver.Observations.Hours(ctx, from, to)
}

func describeObserved(f ObservedFilter) string {
	var out []string
	add := func(name, value string) {
		if value != "" {
			out = append(out, fmt.Sprintf("%s=%q", name, value))
		}
	}
	add("host", f.Host)
	add("app", f.App)
	if !f.After.IsZero() {
		add("after", f.After.UTC().Format(time.RFC3339))
	}
	if !f.Before.IsZero() {
		add("before", f.Before.UTC().Format(time.RFC3339))
	}
	return strings.Join(out, " ")
}
