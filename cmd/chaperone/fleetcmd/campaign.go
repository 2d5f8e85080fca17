//go:build linux

package fleetcmd

import (
	"bytes"
	"fmt"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// campaignCmd removes a messenger everywhere.
type campaignCmd struct {
	Plan  planCmd    `cmd:"" help:"Say what would be removed where, from the last scan of each machine. Changes nothing."`
	List  listCmd    `cmd:"" help:"List campaigns and how far they are."`
	Show  showCmd    `cmd:"" help:"Show what a campaign does on each machine, and what became of it."`
	Start advanceCmd `cmd:"" help:"Begin with the canary machines; with --all, on all."`
	Stop  stopCmd    `cmd:"" help:"Give no more orders. What was done stays done."`
	Undo  undoCmd    `cmd:"" help:"Bring back what lies in the quarantines of machines."`
}

type planCmd struct {
	listing
	Version    string   `name:"version" help:"Only this version of it."`
	Quarantine bool     `name:"quarantine" help:"Take files into quarantine even where a package owns them."`
	Reason     string   `name:"reason" required:"" help:"Why."`
	Canary     []string `name:"canary" placeholder:"HOST" help:"Machines that go first; a twentieth of them without it."`
	App        string   `arg:"" help:"The messenger, by its id in the catalog."`
}

// Run plans.
func (c *planCmd) Run(e *command.Env) error {
	args := fleet.PlanArgs{App: c.App, Version: c.Version, Action: "remove", Reason: c.Reason, Canary: c.Canary}
	if c.Quarantine {
		args.Action = "quarantine"
	}
	var b bytes.Buffer
	if err := operate(e, &c.DataFlags, "fleet.campaign.plan", args, &b); err != nil {
		return err
	}
	if c.JSON {
		_, err := e.Out.Write(b.Bytes())
		return err
	}
	return lines(&b, func(_ []byte, x fleet.Campaign) error { return show(e, x) })
}

// show prints a campaign for people.
func show(e *command.Env, x fleet.Campaign) error {
	fmt.Fprintf(e.Out, "campaign %s: %s %s %s, stage %s, by %s\n", x.ID, x.Action, printable.Line(x.App), printable.Line(x.Version), x.Stage, x.By)
	for _, h := range x.Hosts {
		fmt.Fprintf(e.Out, "%s%s: %s\n", printable.Line(h.Name), mark(h), progress(h))
		for _, i := range h.Items {
			fmt.Fprintf(e.Out, "    %s\n", printable.Line(i.Path))
		}
	}
	_, err := fmt.Fprintf(e.Out, "plan %s\n", x.Digest)
	return err
}

func mark(h fleet.PlanHost) string {
	s := ""
	if h.Canary {
		s += " (canary)"
	}
	if h.Held {
		s += " (under a hold: refused)"
	}
	if h.Unsure > 0 {
		s += fmt.Sprintf(" (%d files are not known surely enough)", h.Unsure)
	}
	return s
}

// progress says what became of a machine.
func progress(h fleet.PlanHost) string {
	if h.Done == nil {
		return fmt.Sprintf("%d files", len(h.Items))
	}
	return printable.Line(h.Outcome())
}

type listCmd struct{ listing }

// Run lists campaigns.
func (c *listCmd) Run(e *command.Env) error {
	return table(e, &c.listing, "fleet.campaigns", struct{}{}, "ID\tWHAT\tACTION\tSTAGE\tHOSTS\tDONE\tBY\tREASON", "there is no campaign", func(x fleet.Campaign) []string {
		done := 0
		for _, h := range x.Hosts {
			if h.Done != nil {
				done++
			}
		}
		return []string{x.ID, x.App + " " + x.Version, x.Action, string(x.Stage), fmt.Sprint(len(x.Hosts)), fmt.Sprint(done), x.By, x.Reason}
	})
}

type showCmd struct {
	listing
	ID string `arg:"" help:"Of the campaign."`
}

// Run shows one.
func (c *showCmd) Run(e *command.Env) error {
	var b bytes.Buffer
	if err := operate(e, &c.DataFlags, "fleet.campaigns", struct{}{}, &b); err != nil {
		return err
	}
	found := false
	err := lines(&b, func(raw []byte, x fleet.Campaign) error {
		if x.ID != c.ID {
			return nil
		}
		found = true
		if c.JSON {
			_, err := fmt.Fprintf(e.Out, "%s\n", raw)
			return err
		}
		return show(e, x)
	})
	if err == nil && !found {
		err = fleet.ErrNoCampaign
	}
	return err
}

type advanceCmd struct {
	command.DataFlags
	All  bool   `name:"all" help:"On all machines, not only on the canary ones."`
	Plan string `name:"plan" required:"" placeholder:"DIGEST" help:"The plan that you have seen, as plan and show print it."`
	ID   string `arg:"" help:"Of the campaign."`
}

// Run starts a campaign, or goes on with it.
func (c *advanceCmd) Run(e *command.Env) error {
	to := fleet.Canary
	if c.All {
		to = fleet.All
	}
	return advance(e, &c.DataFlags, fleet.AdvanceArgs{ID: c.ID, To: to, Plan: c.Plan})
}

func advance(e *command.Env, d *command.DataFlags, args fleet.AdvanceArgs) error {
	var b bytes.Buffer
	if err := operate(e, d, "fleet.campaign.advance", args, &b); err != nil {
		return err
	}
	return lines(&b, func(_ []byte, x fleet.Campaign) error {
		_, err := fmt.Fprintf(e.Out, "campaign %s is at stage %s\n", x.ID, x.Stage)
		return err
	})
}

type stopCmd struct {
	command.DataFlags
	ID string `arg:"" help:"Of the campaign."`
}

// Run stops a campaign.
func (c *stopCmd) Run(e *command.Env) error {
	return advance(e, &c.DataFlags, fleet.AdvanceArgs{ID: c.ID, To: fleet.Stopped})
}

type undoCmd struct {
	command.DataFlags
	ID string `arg:"" help:"Of the campaign."`
}

// Run undoes a campaign.
func (c *undoCmd) Run(e *command.Env) error {
	return advance(e, &c.DataFlags, fleet.AdvanceArgs{ID: c.ID, To: fleet.Undoing})
}
