package execution

import (
	"context"

	"github.com/chaperone-im/chaperone/internal/console"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
	"time"
)

// Pages is a desk as the console shows it.
type Pages struct{ *Desk }

// Fired implements console.Programs.
func (p Pages) Fired() ([]console.FiredRule, time.Time) {
	var out []console.FiredRule
	for _, f := range p.Desk.Fired("", nil) {
		out = append(out, console.FiredRule{Enforcer: f.Enforcer, Key: f.Key, App: f.App, Rule: f.Rule, Exported: f.Type == "rule", Times: f.Times, Last: f.Last, Hosts: f.Hosts})
	}
	return out, p.Tally.Since()
}

// Learned implements console.Programs.
func (p Pages) Learned() []console.Learned {
	var out []console.Learned
	now := p.Tally.clock.Now()
	for _, x := range p.Desk.Learned() {
		l := console.Learned{ID: x.ID, Digest: x.Digest, Kind: x.Kind, Name: x.Name, Times: x.Times, First: x.First, Last: x.Last, ReadyAt: x.Ready, Ready: !now.Before(x.Ready), Hosts: x.Hosts, More: x.More}
		for _, f := range x.Files {
			l.Files = append(l.Files, console.LearnedFile{Path: f.Path, SHA256: f.SHA256, Times: f.Times})
		}
		out = append(out, l)
	}
	return out
}

// Decide implements console.Programs.
func (p Pages) Decide(ctx context.Context, by string, d console.LearnedDecision) error {
	_, err := p.Desk.Decide(ctx, by, DecideArgs{ID: d.ID, Digest: d.Digest, Dismiss: d.Dismiss, Subject: fleet.Subject(d.Kind), Name: d.Name, For: d.For, Reason: d.Reason})
	return err
}
