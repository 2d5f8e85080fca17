package scanned

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/history"
	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
)

const (
	planVersion = 1
	maxPlan     = 256 << 20
)

// Plan is what a run would do, written down for people to approve, and carried out later by `scan --apply`. Its names are API.
type Plan struct {
	Type    string    `json:"type"` // "plan"
	Version int       `json:"version"`
	Host    string    `json:"host"`
	Time    time.Time `json:"time"`
	Remove  bool      `json:"remove"`
	Policy  string    `json:"policy"` // versions by which it was made, for people: what counts is asked again
	Catalog string    `json:"catalog"`
	Acts    []Act     `json:"acts"`
}

// Add adds what would be done about the file of a finding.
func (p *Plan) Add(ctx context.Context, by *Planner, f *scan.Finding) {
	a := by.Act(ctx, f)
	t := a.target
	a.Planned = &Planned{App: t.App, Owner: t.Owner, Device: t.Dev, Inode: t.Ino, Size: t.Size, SHA256: t.SHA256, Rule: f.Event.Verdict.Rule,
		Confidence: f.Event.Program.Confidence.Float(), Manager: a.owner.Manager, Package: a.owner.Package, Version: a.owner.Version}
	switch a.Action {
	case actRemove:
		a.Planned.Undo = by.undo(a.owner)
	case actQuarantine:
		a.Planned.Undo = "chaperone quarantine restore"
	case actNone:
		a.Planned.Would = a.would
	}
	for _, s := range a.stores {
		a.Planned.Histories = append(a.Planned.Histories, strings.ToValidUTF8(s.Path, "\uFFFD"))
	}
	if by.Store != nil && (a.Action != actNone || a.would != "") {
		if err := by.held(ctx, &a); err != nil {
			a.Planned.Held = err.Error()
		}
	}
	p.Acts = append(p.Acts, a)
}

// Write writes the plan to a new file that its owner alone may change.
func (p *Plan) Write(path string) error {
	p.Type, p.Version = "plan", planVersion
	b, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	return nil
}

// ReadPlan reads a plan.
func ReadPlan(path string) (*Plan, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPlan+1))
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return ParsePlan(b)
}

// ParsePlan reads a plan, strictly.
func ParsePlan(b []byte) (*Plan, error) {
	if len(b) > maxPlan {
		return nil, errors.New("plan: too large")
	}
	var p Plan
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	if p.Type != "plan" || p.Version != planVersion {
		return nil, fmt.Errorf("plan: it is no plan of version %d", planVersion)
	}
	for i := range p.Acts {
		a := &p.Acts[i]
		if !slices.Contains([]string{actNone, actQuarantine, actRemove}, a.Action) || a.Planned == nil {
			return nil, fmt.Errorf("plan: act %d: action %q, or nothing to know its file by", i, a.Action)
		}
		path := a.Path
		if a.PathBase64 != "" {
			raw, err := base64.StdEncoding.DecodeString(a.PathBase64)
			if err != nil {
				return nil, fmt.Errorf("plan: act %d: path: %w", i, err)
			}
			path = string(raw)
		}
		if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
			return nil, fmt.Errorf("plan: act %d: path is not absolute", i)
		}
		a.target.Path = path
		if err := a.approve(); err != nil {
			return nil, fmt.Errorf("plan: act %d: %w", i, err)
		}
	}
	return &p, nil
}

// approve turns what somebody approved into what is to be done.
func (a *Act) approve() error {
	switch {
	case a.ApprovedBy == "":
		return nil
	case a.Action != actNone || a.Planned.Would != actQuarantine && a.Planned.Would != actRemove:
		return errors.New("approved_by where the plan leaves nothing to approve")
	case !isHash(a.Planned.SHA256):
		return errors.New("approved_by a file without a hash to know it by")
	}
	a.Action = a.Planned.Would
	return nil
}

// Paths are the files that something is to be done about.
func (p *Plan) Paths() []string {
	var out []string
	for i := range p.Acts {
		if p.Acts[i].Action != actNone && !slices.Contains(out, p.Acts[i].target.Path) {
			out = append(out, p.Acts[i].target.Path)
		}
	}
	return out
}

// Apply does what the plan says and nothing else: about files that are still what they were, that are found, judged and owned as they were.
// forbidden are the findings of a scan of the plan's paths.
func (p *Plan) Apply(ctx context.Context, a *Actor, forbidden []*scan.Finding) error {
	for i := range p.Acts {
		planned := &p.Acts[i]
		if planned.Action == actNone {
			continue
		}
		act := Act{Type: "act", Action: planned.Action, Path: planned.Path, PathBase64: planned.PathBase64}
		at := slices.IndexFunc(forbidden, func(f *scan.Finding) bool { return f.Real == planned.target.Path })
		err := a.absent(planned.target.Path)
		if at >= 0 {
			act = a.Act(ctx, forbidden[at])
			err = planned.same(&act, forbidden[at])
		}
		if err != nil {
			a.Failed++
			act.Error = err.Error()
			if err := a.say(&act); err != nil {
				return err
			}
			continue
		}
		for _, path := range planned.Planned.Histories {
			if !slices.ContainsFunc(act.stores, func(s history.Place) bool { return s.Path == path }) {
				act.stores = append(act.stores, history.Place{App: act.target.App, Path: path})
			}
		}
		if err := a.Do(ctx, act); err != nil {
			return err
		}
	}
	return nil
}

var errNotFound = errors.New("nothing is there now that policy forbids: it is gone, has changed or was approved")

// absent says why there is no finding of a file.
func (p *Planner) absent(path string) error {
	if problem := p.Unread[path]; problem != nil {
		return fmt.Errorf("it could not be looked into: %s (%s)", problem.Reason, problem.Detail)
	}
	return errNotFound
}

// same says what is not as it was planned.
func (a *Act) same(now *Act, f *scan.Finding) error {
	p, t := a.Planned, now.target
	switch {
	case t.Dev != p.Device || t.Ino != p.Inode || t.Size != p.Size || t.SHA256 != p.SHA256:
		return quarantine.ErrChanged
	case t.App != p.App:
		return fmt.Errorf("it is recognised as %q now, and was as %q", t.App, p.App)
	case now.Action != a.Action:
		return fmt.Errorf("%s was planned, and %s would be done now (%s)", a.Action, now.Action, now.Note)
	case now.owner.Manager != p.Manager || now.owner.Package != p.Package || now.owner.Version != p.Version:
		return fmt.Errorf("it belongs to %s %s %s now", now.owner.Manager, now.owner.Package, now.owner.Version)
	case !f.Event.Verdict.Action.Stops():
		return errNotFound
	}
	return nil
}
