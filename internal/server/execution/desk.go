package execution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// Desk is what people do with the sums.
type Desk struct {
	Tally    *Tally
	Plan     func(found []export.Found) *export.Plan                                        // of the policy in force, as it would be exported
	Grant    func(ctx context.Context, by string, a fleet.Approval) (fleet.Approval, error) // nil: no fleet is served
	Acts     event.Recorder
	Learning time.Duration
}

// FiredArgs ask for one format, or for all, and for the rules that were made of findings too.
type FiredArgs struct {
	Format string         `json:"format,omitempty"`
	Found  []export.Found `json:"found,omitempty"`
}

// DecideArgs decide about a proposal.
type DecideArgs struct {
	ID      string        `json:"id"`
	Digest  string        `json:"digest,omitempty"` // of the proposal as it was shown; "" does not ask
	Dismiss bool          `json:"dismiss,omitempty"`
	Subject fleet.Subject `json:"subject,omitempty"`
	Name    string        `json:"name,omitempty"`
	For     time.Duration `json:"for,omitempty"`
	Reason  string        `json:"reason,omitempty"`
}

// Operations are what a running server offers on the control socket.
func (d *Desk) Operations() control.Operations {
	admin := []control.Role{control.Administrator}
	return control.Operations{
		control.With("execution.fired", admin, func(_ context.Context, call *control.Call, a FiredArgs) error {
			return encode(json.NewEncoder(call.Out), d.Fired(a.Format, a.Found))
		}),
		control.With("execution.learned", admin, func(_ context.Context, call *control.Call, _ struct{}) error {
			return encode(json.NewEncoder(call.Out), d.Learned())
		}),
		control.With("execution.decide", admin, func(ctx context.Context, call *control.Call, a DecideArgs) error {
			granted, err := d.Decide(ctx, call.Caller.Account, a)
			return errors.Join(encode(json.NewEncoder(call.Out), granted), err)
		}),
	}
}

// Fired returns the exported rules and whether they ever fired.
func (d *Desk) Fired(format string, found []export.Found) []Fired {
	return d.Tally.Fired(format, d.Plan(found))
}

// Learned returns the proposals.
func (d *Desk) Learned() []Proposal { return d.Tally.Proposals(d.Learning) }

// Decide accepts a proposal, which writes its approvals, or dismisses it. Each approval is an act on record before it is granted.
func (d *Desk) Decide(ctx context.Context, by string, a DecideArgs) ([]fleet.Approval, error) {
	p, err := d.Tally.proposal(a.ID)
	if err != nil {
		return nil, err
	}
	if a.Digest != "" && a.Digest != p.Digest {
		return nil, ErrChanged
	}
	if a.Dismiss {
		err := d.Acts.Record(ctx, &event.Event{Kind: event.Act, Phase: "learned.dismiss", Connector: "fleet", From: event.Party{Handle: by},
			Content: event.Content{Act: &event.ActDetail{Action: "learned.dismiss", Object: p.Kind + " " + p.Name, Details: []event.Fact{{Name: "reason", Value: a.Reason}}}}})
		if err != nil {
			return nil, fmt.Errorf("it could not be recorded, and was not done: %w", err)
		}
		return nil, d.Tally.forget(&p)
	}
	if d.Grant == nil {
		return nil, errors.New("this server serves no fleet: there is nobody to approve for")
	}
	if a.Reason == "" {
		a.Reason = "learned: " + p.Kind + " " + p.Name
	}
	var granted []fleet.Approval
	for _, x := range p.approvals(a, d.Tally.clock.Now()) {
		g, err := d.Grant(ctx, by, x)
		if err != nil {
			return granted, err
		}
		granted = append(granted, g)
	}
	return granted, d.Tally.forget(&p)
}

// approvals are what accepting a proposal grants: the publisher, or each file by its content.
func (p *Proposal) approvals(a DecideArgs, now time.Time) []fleet.Approval {
	base := fleet.Approval{Subject: a.Subject, Name: a.Name, Until: now.Add(a.For), Reason: a.Reason}
	if p.Kind == "publisher" {
		base.Publisher = p.Name
		return []fleet.Approval{base}
	}
	var out []fleet.Approval
	for _, f := range p.Files {
		x := base
		x.SHA256 = f.SHA256
		out = append(out, x)
	}
	return out
}
