package scanned

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/endpoint/history"
	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// What is done about a file.
const (
	actNone       = "none"
	actQuarantine = "quarantine"
	actRemove     = "remove"
)

// Act is what is to be done about one file, or was done. Its names are API: a plan is made of them.
type Act struct {
	Type       string            `json:"type"` // "act"
	Action     string            `json:"action"`
	Path       string            `json:"path"`
	PathBase64 string            `json:"path_base64,omitempty"`
	ID         string            `json:"id,omitempty"`
	Command    string            `json:"command,omitempty"`
	Note       string            `json:"note,omitempty"`
	Error      string            `json:"error,omitempty"`
	Planned    *Planned          `json:"planned,omitempty"`     // in a plan only
	ApprovedBy string            `json:"approved_by,omitempty"` // in a plan: who looked at the file, and has done what Planned.Would says
	Sealed     []quarantine.Seal `json:"sealed,omitempty"`      // histories, before the act

	target quarantine.Target
	owner  quarantine.Owner
	stores []history.Place // to be sealed before
	would  string          // done once somebody names the file
}

// Planned is by what a file of a plan is known again.
type Planned struct {
	App        string   `json:"app"`
	Owner      string   `json:"owner"`
	Device     uint64   `json:"device"`
	Inode      uint64   `json:"inode"`
	Size       int64    `json:"size"`
	SHA256     string   `json:"sha256"`
	Rule       string   `json:"rule"`
	Confidence float64  `json:"confidence"`
	Manager    string   `json:"manager,omitempty"`
	Package    string   `json:"package,omitempty"`
	Version    string   `json:"version,omitempty"`
	Undo       string   `json:"undo"`
	Histories  []string `json:"histories,omitempty"` // sealed before anything is removed
	Held       string   `json:"held,omitempty"`      // why nothing would be done
	Would      string   `json:"would,omitempty"`     // what is done when somebody who looked at the file approves it; nothing identifies it for itself
}

// Planner tells what is to be done about each file that policy forbids. Remove goes through package managers; without it files are only moved.
type Planner struct {
	Scanner *scan.Scanner
	Remove  bool
	Named   Named                    // files that people named
	Store   *quarantine.Store        // asked for holds; nil in a run that changes nothing
	Found   []*scan.Finding          // stores that the scan itself found
	Unread  map[string]*scan.Problem // what the scan of a plan's files could not look into, by path
}

// Act tells what is to be done about the file of a finding.
func (p *Planner) Act(ctx context.Context, f *scan.Finding) Act {
	a, named := p.target(f), p.Named.why(f)
	switch {
	case f.Event.Program.Form == scan.History:
		return a.leave("left alone: where conversations are kept may be evidence", "")
	case named != "":
		a.target.Reason += ", " + named
	case !f.Certain() && !p.Remove:
		return a.leave(Unsure(f), actQuarantine)
	}
	if !p.Remove {
		return a
	}
	would, owner := actQuarantine, ""
	o, owned := quarantine.OwnerOf(ctx, f.Real)
	if owned {
		would, owner = actRemove, o.Package
		a.owner, a.Command = o, strings.Join(o.Command(), " ")
	}
	a.stores = p.stores(f.Event.Program.App)
	switch {
	case named != "" || f.Identity() || owned && f.Certain() && p.Scanner.MayRemove(f, o.Manager, o.Package):
	case !f.Certain():
		return a.leave(Unsure(f), would)
	default:
		return a.leave(unproven(f, owner), would)
	}
	if owned {
		a.Action, a.Note = actRemove, "undo: "+p.undo(o)
	}
	return a
}

// undo is what brings a package back, with a copy of it in the quarantine that would be.
func (p *Planner) undo(o quarantine.Owner) string {
	if p.Store == nil {
		return o.Undo("QUARANTINE")
	}
	return o.Undo(p.Store.Dir())
}

// target is the file of a finding, to be moved away.
func (p *Planner) target(f *scan.Finding) Act {
	e := f.Event
	a := Act{Type: "act", Action: actQuarantine, target: quarantine.Target{Path: f.Real, Dev: f.File.Dev, Ino: f.File.Ino, Size: f.File.Size,
		SHA256: f.File.SHA256, App: e.Program.App, Reason: "rule " + e.Verdict.Rule, Owner: e.Program.Owner}}
	a.Path, a.PathBase64 = scan.Name(f.Real)
	return a
}

// leave leaves the file alone. would is what is done once somebody names the file.
func (a *Act) leave(note, would string) Act {
	a.Action, a.Note, a.would = actNone, note, would
	return *a
}

// stores are where the messenger keeps what was said: on this machine, and where the scan found more.
func (p *Planner) stores(app string) []history.Place {
	if app == "" {
		return nil
	}
	out := p.Scanner.Stores(app)
	for _, f := range p.Found {
		if f.Event.Program.App == app && !slices.ContainsFunc(out, func(o history.Place) bool { return o.Path == f.Real }) {
			out = append(out, history.Place{App: app, Path: f.Real})
		}
	}
	return out
}

// held says which hold forbids the act: of this machine, of the file's owner, or of anybody whose conversations with the messenger are here.
func (p *Planner) held(ctx context.Context, a *Act) error {
	if err := p.Store.CheckHoldOf(ctx, a.target.Owner); err != nil {
		return err
	}
	for _, s := range a.stores {
		if err := p.Store.CheckHoldOfStore(ctx, s.Path); err != nil {
			return err
		}
	}
	return nil
}

// Actor does what is to be done, once for each file, and says it.
type Actor struct {
	Planner
	Out    io.Writer
	JSON   bool
	Failed int

	sealed map[string]bool // stores that were sealed in this run
}

// Do does what is to be done about the file of a finding.
func (a *Actor) Do(ctx context.Context, act Act) error {
	if act.Action == actNone {
		act.Command = "" // it is not carried out
		return a.say(&act)
	}
	if err := a.do(ctx, &act); err != nil {
		a.Failed++
		act.Error = err.Error()
	}
	return a.say(&act)
}

func (a *Actor) do(ctx context.Context, act *Act) error {
	if err := a.held(ctx, act); err != nil {
		return err
	}
	if act.Action == actRemove {
		if err := a.Store.Check(act.target); err != nil {
			return err
		}
	}
	if err := a.seal(ctx, act); err != nil {
		return err
	}
	if act.Action == actRemove {
		return a.Store.Remove(ctx, act.owner, act.target)
	}
	item, err := a.Store.Take(ctx, act.target)
	if err != nil {
		return err
	}
	act.ID = item.ID
	left, err := a.Store.Left(item)
	switch {
	case err != nil: // it was taken all the same
		act.Note = err.Error()
	case left == 1:
		act.Note = "the file has 1 more name, which still leads to it"
	case left > 1:
		act.Note = fmt.Sprintf("the file has %d more names, which still lead to it", left)
	}
	return nil
}

// seal seals the stores of the messenger, each once in a run. What cannot be sealed keeps everything from being removed.
func (a *Actor) seal(ctx context.Context, act *Act) error {
	if a.sealed == nil {
		a.sealed = map[string]bool{}
	}
	for _, p := range act.stores {
		if a.sealed[p.Path] {
			continue
		}
		seal, err := a.Store.SealHistory(ctx, p)
		if errors.Is(err, os.ErrNotExist) {
			continue // gone since it was found or planned
		}
		if err != nil {
			return fmt.Errorf("nothing is removed before its history is sealed: %w", err)
		}
		a.sealed[p.Path] = true
		act.Sealed = append(act.Sealed, seal)
	}
	return nil
}

func (a *Actor) say(l *Act) error {
	if a.JSON {
		enc := json.NewEncoder(a.Out)
		enc.SetEscapeHTML(false)
		return enc.Encode(l)
	}
	var err error
	for _, s := range l.Sealed {
		_, e := fmt.Fprintf(a.Out, "sealed history %s (%d files, sha256 %s)\n", Short(s.Path), s.Files, s.SHA256)
		err = errors.Join(err, e)
	}
	note := ""
	if l.Note != "" {
		note = " (" + printable.Line(l.Note) + ")"
	}
	switch {
	case err != nil:
		return err
	case l.Error != "":
		_, err = fmt.Fprintf(a.Out, "NOT DONE %s: %s\n", Short(l.Path), printable.Line(l.Error))
	case l.Action == actNone:
		_, err = fmt.Fprintf(a.Out, "%s: %s\n", Short(l.Path), printable.Line(l.Note))
	case l.Command != "":
		_, err = fmt.Fprintf(a.Out, "removed %s (%s; %s)\n", Short(l.Path), printable.Line(l.Command), printable.Line(l.Note))
	default:
		_, err = fmt.Fprintf(a.Out, "in quarantine as %s: %s%s\n", l.ID, Short(l.Path), note)
	}
	return err
}
