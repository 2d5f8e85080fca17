//go:build linux

package fleetcmd

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// campaignCmd removes a messenger everywhere.
type campaignCmd struct {
	Plan  planCmd    `cmd:"" help:"Say what would be removed where, from the last scan of each machine. Changes nothing."`
	List  listCmd    `cmd:"" help:"List campaigns and how far they are."`
	Show  showCmd    `cmd:"" help:"Show what a campaign does on each machine, and what became of it."`
	Start advanceCmd `cmd:"" help:"Begin with the canary machines; with --all, go on with all."`
	Stop  stopCmd    `cmd:"" help:"Give no more orders. What was done stays done. An undoing that some machines never answer is ended by it."`
	Undo  undoCmd    `cmd:"" help:"Bring back what lies in the quarantines of machines. Once more, it asks for what was not brought back."`
}

type planCmd struct {
	listing
	Version    string   `name:"version" help:"Only this version of it."`
	Quarantine bool     `name:"quarantine" help:"Take files into quarantine even where a package owns them."`
	Reason     string   `name:"reason" required:"" help:"Why."`
	Canary     []string `name:"canary" placeholder:"HOST" help:"Machines that go first; a twentieth of them without it."`
	SHA256     []string `name:"sha256" placeholder:"HASH" help:"You looked at the file of this SHA-256, and it is to be taken away though nothing identifies the messenger in it for itself. Repeatable."`
	App        string   `arg:"" help:"The messenger, by its id in the catalog."`
}

// Run plans.
func (c *planCmd) Run(e *command.Env) error {
	args := fleet.PlanArgs{App: c.App, Version: c.Version, Action: "remove", Reason: c.Reason, Canary: c.Canary, SHA256: c.SHA256}
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
	left := false
	fmt.Fprintf(e.Out, "campaign %s: %s %s, stage %s, by %s\n", x.ID, x.Action, printable.Line(what(x)), x.Standing(), x.By)
	for _, h := range x.Hosts {
		fmt.Fprintf(e.Out, "%s%s: %s\n", printable.Line(h.Name), mark(h), progress(h))
		for _, line := range fates(h) {
			fmt.Fprintf(e.Out, "    %s\n", line)
		}
		for _, l := range h.Left {
			fmt.Fprintf(e.Out, "    %s: %s (SHA-256 %s)\n", printable.Line(l.Path), l.Why, l.SHA256)
			left = true
		}
	}
	if left && x.Stage == fleet.Planned {
		fmt.Fprintln(e.Out, "a file that stays is taken away when you looked at it and plan again with --sha256 HASH")
	}
	stillOpen(e, x)
	_, err := fmt.Fprintf(e.Out, "plan %s\n", x.Digest)
	return err
}

// what is the messenger of a campaign, with its version where it is of one.
func what(x fleet.Campaign) string { return strings.TrimSpace(x.App + " " + x.Version) }

// fates are the files of a machine, with what became of each once that is known.
func fates(h fleet.PlanHost) []string {
	last := h.Done
	if h.Undone != nil {
		last = h.Undone
	}
	var out []string
	if last == nil || len(last.Outcomes) == 0 {
		for _, i := range h.Items {
			out = append(out, printable.Line(i.Path))
		}
		return out
	}
	for _, o := range last.Outcomes {
		out = append(out, outcome(o))
	}
	return out
}

// stillOpen names the machines that have not answered.
func stillOpen(e *command.Env, x fleet.Campaign) {
	open := x.Open()
	if len(open) == 0 {
		return
	}
	names := strings.Join(open[:min(len(open), mostShown)], ", ")
	if more := len(open) - mostShown; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	fmt.Fprintf(e.Out, "not answered by %d of %d machines: %s\n", len(open), len(x.Hosts), printable.Line(names))
}

func mark(h fleet.PlanHost) string {
	s := ""
	if h.Canary {
		s += " (canary)"
	}
	if h.Held {
		s += " (under a hold: refused)"
	}
	if n := len(h.Left); n > 0 {
		s += fmt.Sprintf(" (%d files stay)", n)
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
	return table(e, &c.listing, "fleet.campaigns", struct{}{}, "ID\tWHAT\tACTION\tSTAGE\tHOSTS\tDONE\tFAILED\tOPEN\tBY\tREASON", "there is no campaign", func(x fleet.Campaign) []string {
		done, failed := tally(x)
		return []string{x.ID, what(x), x.Action, x.Standing(), fmt.Sprint(len(x.Hosts)), fmt.Sprint(done), fmt.Sprint(failed), fmt.Sprint(len(x.Open())), x.By, x.Reason}
	})
}

// tally counts the machines on which all was done, and those that refused it or could not do it all.
func tally(x fleet.Campaign) (done, failed int) {
	for _, h := range x.Hosts {
		last := h.Done
		if h.Undone != nil {
			last = h.Undone
		}
		switch {
		case last == nil:
		case last.Refused != "" || last.Failed() > 0:
			failed++
		default:
			done++
		}
	}
	return done, failed
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
	listing
	All      bool   `name:"all" help:"On all machines, not only on the canary ones."`
	NoCanary bool   `name:"no-canary" help:"With --all: on all machines at once, though no canary machine has begun."`
	Plan     string `name:"plan" required:"" placeholder:"DIGEST" help:"The plan that you have seen, as plan and show print it."`
	ID       string `arg:"" help:"Of the campaign."`
}

// Run starts a campaign, or goes on with it.
func (c *advanceCmd) Run(e *command.Env) error {
	to := fleet.Canary
	switch {
	case c.All && c.NoCanary:
		to = fleet.AllAtOnce
	case c.All:
		to = fleet.All
	case c.NoCanary:
		return hint.New(errors.New("--no-canary alone says nothing"), "--all --no-canary")
	}
	err := advance(e, &c.listing, fleet.AdvanceArgs{ID: c.ID, To: to, Plan: c.Plan})
	if err != nil && strings.Contains(err.Error(), fleet.ErrNotTried.Error()) {
		return hint.New(err, "begin without --all and look at what they say; or --all --no-canary")
	}
	return err
}

func advance(e *command.Env, l *listing, args fleet.AdvanceArgs) error {
	var b bytes.Buffer
	if err := operate(e, &l.DataFlags, "fleet.campaign.advance", args, &b); err != nil {
		return err
	}
	if l.JSON {
		_, err := e.Out.Write(b.Bytes())
		return err
	}
	return lines(&b, func(_ []byte, x fleet.Campaign) error {
		fmt.Fprintf(e.Out, "campaign %s is at stage %s\n", x.ID, x.Standing())
		stillOpen(e, x)
		return nil
	})
}

type stopCmd struct {
	listing
	ID string `arg:"" help:"Of the campaign."`
}

// Run stops a campaign.
func (c *stopCmd) Run(e *command.Env) error {
	return advance(e, &c.listing, fleet.AdvanceArgs{ID: c.ID, To: fleet.Stopped})
}

type undoCmd struct {
	listing
	ID string `arg:"" help:"Of the campaign."`
}

// Run undoes a campaign.
func (c *undoCmd) Run(e *command.Env) error {
	return advance(e, &c.listing, fleet.AdvanceArgs{ID: c.ID, To: fleet.Undoing})
}
