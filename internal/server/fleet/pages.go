package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/chaperone-im/chaperone/internal/console"
)

// Pages is a fleet as the console shows it.
type Pages struct{ *Server }

// Machines implements console.Fleet.
func (p Pages) Machines() console.FleetView {
	var v console.FleetView
	v.Generation, v.Since, v.Policy = p.Release()
	for _, h := range p.Hosts() {
		switch h.State {
		case Pending:
			v.Pending = append(v.Pending, shownHost(h, v.Generation))
		case Approved, Revoked:
			v.Hosts = append(v.Hosts, shownHost(h, v.Generation))
		}
	}
	for _, c := range p.Codes() {
		v.Codes = append(v.Codes, console.FleetCode{Name: c.Name, By: c.By, Comment: c.Comment, Uses: c.Uses, Until: c.Until})
	}
	return v
}

func shownHost(h Host, generation uint64) console.FleetHost {
	out := console.FleetHost{ID: h.ID, Name: h.Name, State: string(h.State), System: h.OS + "/" + h.Arch, Version: h.Version, Mode: h.Seen.Mode, From: h.From, Fingerprint: h.Fingerprint,
		Code: h.Code, Addresses: h.Addresses, Online: h.Seen.Online, Current: h.Seen.Fleet == generation, Generation: h.Seen.Fleet, Seen: h.Seen.At, Asked: h.Asked, CertificateEnds: h.Ends, Trouble: h.Seen.Trouble}
	if i := h.Inventory; i != nil {
		out.Scanned, out.Unread = i.Scanned, i.Errors
		for _, q := range i.Programs {
			out.Programs = append(out.Programs, console.FleetProgram{App: q.App, Version: q.Version, Form: q.Form, Path: q.Path, SHA256: q.SHA256, Publisher: q.Publisher, Verdict: q.Verdict, Rule: q.Rule, Certain: q.Certain})
		}
	}
	return out
}

// Approvals implements console.Fleet.
func (p Pages) Approvals() (inForce []console.Approval, asked []console.ApprovalAsked) {
	granted, waiting := p.Server.Approvals()
	for _, a := range granted {
		inForce = append(inForce, console.Approval{ID: a.ID, For: a.For(), What: a.What(), Reason: a.Reason, By: a.By, Until: a.Until})
	}
	for _, q := range waiting {
		what := q.App
		if what == "" {
			what = q.SHA256
		}
		asked = append(asked, console.ApprovalAsked{ID: q.ID, Host: q.Name, User: q.User, What: what, Path: q.Path, Reason: q.Reason, At: q.At})
	}
	return inForce, asked
}

// Campaigns implements console.Fleet.
func (p Pages) Campaigns() []console.Campaign {
	var out []console.Campaign
	for _, x := range p.Server.Campaigns() {
		c := console.Campaign{ID: x.ID, App: x.App, Version: x.Version, Action: x.Action, Stage: string(x.Stage), Standing: x.Standing(), NotUndone: x.NotUndone(), Reason: x.Reason, By: x.By, Digest: x.Digest, Made: x.Made}
		for _, h := range x.Hosts {
			c.Hosts = append(c.Hosts, shownPlan(h))
		}
		out = append(out, c)
	}
	return out
}

func shownPlan(h PlanHost) console.CampaignHost {
	out := console.CampaignHost{Name: h.Name, Outcome: h.Outcome(), Canary: h.Canary, Held: h.Held, Reported: h.Done != nil}
	for _, i := range h.Items {
		out.Paths = append(out.Paths, i.Path)
	}
	for _, l := range h.Left {
		out.Left = append(out.Left, console.LeftFile(l))
	}
	last := h.Done
	if h.Undone != nil {
		last = h.Undone
	}
	if last != nil {
		out.Missed = last.Refused != "" || last.Failed() > 0
		for _, o := range last.Outcomes {
			if o.Error != "" || o.Undo != "" {
				out.Failed = append(out.Failed, strings.TrimSpace(o.Path+": "+o.Error+o.Undo))
			}
		}
	}
	return out
}

// Outcome says what became of a machine, in words.
func (h PlanHost) Outcome() string {
	r, word := h.Done, "done"
	if h.Undone != nil {
		r, word = h.Undone, "undone"
	}
	switch {
	case r == nil && h.Held:
		return "nothing: it was under a hold when it was planned"
	case r == nil:
		return "nothing yet"
	case r.Refused != "":
		return "refused: " + r.Refused
	}
	return fmt.Sprintf("%s: %d of %d files", word, len(r.Outcomes)-r.Failed(), len(r.Outcomes))
}

// Do implements console.Fleet.
func (p Pages) Do(ctx context.Context, by string, do console.FleetAct) (string, error) {
	switch do.What {
	case "code":
		return p.NewCode(ctx, by, do.Reason, do.For, do.Uses)
	case "end-code":
		return "", p.WithdrawCode(ctx, by, do.ID)
	case "approve":
		_, err := p.Approve(ctx, by, do.ID)
		return "", err
	case "refuse":
		_, err := p.Deny(ctx, by, do.ID, do.Reason)
		return "", err
	case "allow":
		a := Approval{Subject: Subject(do.Kind), Name: do.Name, App: do.App, SHA256: do.SHA256, Reason: do.Reason, Asked: do.ID, Until: p.deps.Clock.Now().Add(do.For)}
		_, err := p.Grant(ctx, by, a)
		return "", err
	case "withdraw":
		return "", p.Withdraw(ctx, by, do.ID, do.Reason)
	case "plan":
		x, err := p.Plan(ctx, by, Campaign{App: do.App, Version: do.Version, Action: do.Kind, Reason: do.Reason, SHA256: strings.Fields(do.SHA256)}, strings.Fields(do.Name))
		return x.ID, err
	case string(Canary), string(All), string(Stopped), string(Undoing):
		x, err := p.Advance(ctx, by, do.ID, Stage(do.What), do.To)
		return x.ID, err
	}
	return "", errors.New("nothing of that name is done with a fleet")
}
