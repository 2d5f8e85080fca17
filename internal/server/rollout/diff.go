package rollout

import (
	"context"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/sample"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Difference is a flow of a capture that two catalogs decide differently, or take for different messengers.
type Difference struct {
	Type    string      `json:"type"` // always "flow"
	Capture string      `json:"capture"`
	Proto   string      `json:"proto"`
	Client  string      `json:"client"`
	Server  string      `json:"server"`
	Before  DiffersFrom `json:"before"`
	After   DiffersFrom `json:"after"`
	Stops   bool        `json:"newly_stopped"`
	Passes  bool        `json:"newly_passed"`
}

// DiffersFrom is what one catalog says of a flow.
type DiffersFrom struct {
	App        string       `json:"app"`
	Service    string       `json:"service"`
	Confidence float64      `json:"confidence"`
	Verdict    event.Action `json:"verdict"`
	Rule       string       `json:"rule"`
}

// Diff returns the flows of a capture of which the two sides say different things, and how many flows there are.
func Diff(ctx context.Context, before, after *Side, name string, capture []byte) ([]Difference, int, error) {
	type key struct{ proto, client, server, first string }
	was := map[key]DiffersFrom{}
	flows := 0
	findings, err := sample.Flows(ctx, before.Set.Catalog, name, capture)
	if err != nil {
		return nil, 0, err
	}
	for i := range findings {
		f := &findings[i]
		was[key{f.Flow.Proto, f.Flow.Client, f.Flow.Server, f.FirstSeen.String()}] = before.says(f.Event())
		flows++
	}
	if findings, err = sample.Flows(ctx, after.Set.Catalog, name, capture); err != nil {
		return nil, flows, err
	}
	var out []Difference
	for i := range findings {
		f := &findings[i]
		old, is := was[key{f.Flow.Proto, f.Flow.Client, f.Flow.Server, f.FirstSeen.String()}], after.says(f.Event())
		d := Difference{Type: "flow", Capture: name, Proto: f.Flow.Proto, Client: f.Flow.Client, Server: f.Flow.Server, Before: old, After: is,
			Stops: is.Verdict.Stops() && !old.Verdict.Stops(), Passes: old.Verdict.Stops() && !is.Verdict.Stops()}
		if d.Stops || d.Passes || old.App != is.App {
			out = append(out, d)
		}
	}
	return out, flows, nil
}

// says decides a flow that this side's catalog recognised.
func (s *Side) says(e *event.Event) DiffersFrom {
	v := s.Decide(&policy.Input{Event: e, Now: e.Time, Final: true})
	return DiffersFrom{e.Flow.App, e.Flow.Service, e.Flow.Confidence.Float(), v.Action, v.Rule}
}
