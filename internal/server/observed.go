package server

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/event"
)

// ObservationsArgs are those of observations and observations.hours.
type ObservationsArgs struct {
	Sign
	Host   string    `json:"host"`
	App    string    `json:"app"`
	After  time.Time `json:"after"`
	Before time.Time `json:"before"`
	Limit  int       `json:"limit"`
}

// ObservationLine is one observation, as `chaperone observations --json` prints it. Its names are API.
type ObservationLine struct {
	Type       string               `json:"type"`
	Time       time.Time            `json:"time"`
	Last       time.Time            `json:"last"`
	Times      int64                `json:"times"`
	Kind       event.Kind           `json:"kind"`
	Connector  string               `json:"connector"`
	HostID     string               `json:"host_id"`
	Host       string               `json:"host"`
	Address    string               `json:"address"`
	Person     string               `json:"person"`
	Name       string               `json:"name"`   // asked for, or used
	Server     string               `json:"server"` // ip:port
	App        string               `json:"app"`
	Service    string               `json:"service"`
	Confidence float64              `json:"confidence"`
	Evidence   []event.EvidenceLine `json:"evidence"`
	Verdict    event.Action         `json:"verdict"`
	Rule       string               `json:"rule"`
	Packets    int64                `json:"packets"`
	Bytes      int64                `json:"bytes"`
}

// HourLine is what remains of the observations of an hour, by kind, messenger and verdict.
type HourLine struct {
	Type    string       `json:"type"`
	Hour    time.Time    `json:"hour"`
	Kind    event.Kind   `json:"kind"`
	App     string       `json:"app"`
	Verdict event.Action `json:"verdict"`
	Times   int64        `json:"times"`
	Packets int64        `json:"packets"`
	Bytes   int64        `json:"bytes"`
}

func newObservationLine(o *archive.Observed) ObservationLine {
	e := o.Event
	line := ObservationLine{Type: "observation", Time: e.Time, Last: o.Last, Times: o.Times, Kind: e.Kind, Connector: e.Connector,
		HostID: e.Host.ID, Host: e.Host.Name, Address: e.Host.Address, Person: e.Host.Person, App: e.App(), Evidence: event.AppendEvidenceLines([]event.EvidenceLine{}, e.Evidence),
		Verdict: e.Verdict.Action, Rule: e.Verdict.Rule}
	line.Packets, line.Bytes = o.Traffic()
	switch {
	case e.Flow != nil:
		line.Name, line.Server, line.Service, line.Confidence = e.Flow.Name, e.Flow.Server, e.Flow.Service, e.Flow.Confidence.Float()
	case e.Question != nil:
		line.Name = e.Question.Name
	case e.Web != nil:
		line.Name = e.Web.URL
	case e.Program != nil:
		line.Name, line.Confidence = e.Program.Path, e.Program.Confidence.Float()
	}
	return line
}

// observations lists what was seen and is no record. It names machines and sites: reading it needs a purpose, and is on record.
func (o *operations) observations(ctx context.Context, call *control.Call, a ObservationsArgs) error {
	v, err := o.view(ctx, call, a.Sign)
	if err != nil {
		return err
	}
	out := json.NewEncoder(call.Out)
	page, sent := archive.Page{Limit: archive.MaxLimit}, 0
	for {
		part, err := v.Observations(ctx, archive.ObservedFilter{Host: a.Host, App: a.App, After: a.After, Before: a.Before}, page)
		if err != nil {
			return err
		}
		for i := range part.Items {
			if a.Limit > 0 && sent == a.Limit {
				return nil
			}
			if err := out.Encode(newObservationLine(&part.Items[i])); err != nil {
				return err
			}
			sent++
		}
		if page.Cursor = part.Next; page.Cursor == "" {
			return nil
		}
	}
}

// hours lists the hourly counts of observations that were folded. They name nobody, so they need no purpose.
func (o *operations) hours(ctx context.Context, call *control.Call, a ObservationsArgs) error {
	if o.store.Archive == nil {
		return errors.New("no compliance key is unlocked here (keys.unlock): nothing can be read")
	}
	before := a.Before
	if before.IsZero() {
		before = o.store.Clock.Now().Add(time.Hour)
	}
	counts, err := o.store.Archive.Hours(ctx, a.After, before)
	if err != nil {
		return err
	}
	out := json.NewEncoder(call.Out)
	for _, c := range counts {
		if a.App != "" && c.App != a.App {
			continue
		}
		if err := out.Encode(HourLine{"hour", c.Hour, c.Kind, c.App, c.Action, c.Times, c.Packets, c.Bytes}); err != nil {
			return err
		}
	}
	return nil
}
