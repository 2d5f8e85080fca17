package console

import (
	"net/http"
	"slices"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
)

// filterForm is what a list of records is narrowed by, as it was asked for and as it is offered.
type filterForm struct {
	Kind, Plane, Verdict, App, Day string

	Kinds   []event.Kind
	Planes  []string
	Actions []event.Action
	Later   bool // this is not the newest part
}

// kinds is every kind that can be asked for.
func kinds() []event.Kind {
	return []event.Kind{event.Message, event.Edit, event.Retraction, event.Reaction, event.FileUpload, event.Join, event.Leave, event.RoomChange, event.Delivery, event.Call,
		event.FlowSeen, event.DNSQuery, event.WebRequest, event.ProgramRun, event.FindingHit, event.MediaIn, event.VerdictSet, event.Gap, event.Act}
}

// filterOf reads the filter of a request. What is not understood is said, never ignored.
func filterOf(r *http.Request) (filterForm, archive.Filter, error) {
	d := filterForm{Kind: r.FormValue("kind"), Plane: r.FormValue("plane"), Verdict: r.FormValue("verdict"), App: r.FormValue("app"), Day: r.FormValue("day"),
		Kinds: kinds(), Planes: []string{"conversation", "network", "endpoint", "record"}, Later: r.FormValue("cursor") != "",
		Actions: []event.Action{event.Allow, event.Hold, event.Quarantine, event.Block}}
	var f archive.Filter
	switch {
	case d.Kind != "" && !slices.Contains(d.Kinds, event.Kind(d.Kind)):
		return d, f, usageError("There is no such kind of event. Choose one of the list.")
	case d.Plane != "" && !slices.Contains(d.Planes, d.Plane):
		return d, f, usageError("There is no such plane. Choose one of the list.")
	case d.Verdict != "" && !slices.Contains(d.Actions, event.Action(d.Verdict)):
		return d, f, usageError("There is no such verdict. Choose one of the list.")
	}
	if d.Kind != "" {
		f.Kinds = []event.Kind{event.Kind(d.Kind)}
	} else if d.Plane != "" {
		f.Kinds = slices.DeleteFunc(kinds(), func(k event.Kind) bool { return plane(k) != d.Plane || k == event.Delivery })
	}
	if d.Verdict != "" {
		f.Actions = []event.Action{event.Action(d.Verdict)}
	}
	if d.App != "" {
		f.Apps = []string{d.App}
	}
	if d.Day != "" {
		day, err := time.Parse(time.DateOnly, d.Day)
		if err != nil {
			return d, f, usageError("A day is written as year, month and day, such as 2026-11-24.")
		}
		f.After, f.Before = day, day.AddDate(0, 0, 1)
	}
	return d, f, nil
}

// Set reports whether anything is narrowed.
func (d filterForm) Set() bool { return d.Kind+d.Plane+d.Verdict+d.App+d.Day != "" }

// At returns the address of another part of the same list.
func (d filterForm) At(path, who, cursor string) string {
	return link(path, "who", who, "kind", d.Kind, "plane", d.Plane, "verdict", d.Verdict, "app", d.App, "day", d.Day, "cursor", cursor)
}
