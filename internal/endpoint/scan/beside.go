package scan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/beside"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/unpack"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

// neighbours tells which messengers a runtime starts that lie beside it: the application of a stock Electron or NW.js. f is the runtime, which was
// opened at path. The error says that it could not be told.
func (s *Scanner) neighbours(ctx context.Context, f *os.File, path string) ([]Program, error) {
	place, err := beside.Look(f, path)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	var out []Program
	err = place.Each(func(name string, app *os.File) error {
		report, err := s.revealer.Reveal(ctx, app)
		if err != nil {
			return err
		}
		if p, ok := s.neighbour(name, &report); ok {
			out = append(out, p)
		}
		return unseen(&report)
	})
	return out, err
}

// errUnseen says that an application could not be looked into.
var errUnseen = errors.New("scan: the application beside could not be looked into")

// unseen says that the application itself could not be told. What it carries and is not taken apart is none of this.
func unseen(report *reveal.Report) error {
	for _, p := range report.Problems {
		switch p.Reason {
		case event.ReasonEncrypted, event.ReasonTooDeep, event.ReasonBomb, event.ReasonOversize, event.ReasonUnparseable, unpack.ReasonUnsupported:
		default:
			if len(p.Inside) == 0 {
				return fmt.Errorf("%w: %s", errUnseen, p.Reason)
			}
		}
	}
	return nil
}

// neighbour is the messenger that a report is of.
func (s *Scanner) neighbour(name string, report *reveal.Report) (Program, bool) {
	for i := range report.Items {
		id := &report.Items[i].Identity
		k := s.match.best(id)
		if k.app == "" || i > 0 && !id.Format.Program() {
			continue
		}
		p := Program{Program: event.Program{App: k.app, Confidence: k.confidence, Form: program.Client, Format: string(id.Format), Version: id.Version,
			Publisher: publisher(id), SHA256: report.Items[0].Identity.SHA256, Size: report.Items[0].Identity.Size}}
		for _, e := range k.evidence {
			e.Fact, e.Value = "beside:"+e.Fact, "electron app beside: "+name+": "+e.Value
			p.Evidence = append(p.Evidence, e)
		}
		return p, true
	}
	return Program{}, false
}

// judgeBeside finds a runtime by the application that lies beside it.
func (s *Scanner) judgeBeside(ctx context.Context, j *job, report *reveal.Report) {
	if len(report.Items) == 0 || len(report.Items[0].Inside) > 0 || !s.match.runtime(&report.Items[0].Identity) {
		return
	}
	j.opened = time.Time{} // what it is changes without it: it is looked at each time
	if k := s.match.best(&report.Items[0].Identity); k.app != "" {
		return // it says so itself
	}
	near, err := s.neighbours(ctx, j.file, j.real)
	if ctx.Err() != nil {
		j.err = ctx.Err()
		return
	}
	if err != nil && !errors.Is(err, beside.ErrFolder) {
		j.results = append(j.results, Result{Problem: &Problem{Path: j.path, Reason: event.ReasonUnreadable, Detail: "what lies beside it: " + program.Text(err.Error())}})
	}
	for _, p := range near {
		e := s.event(j, &report.Items[0], "")
		e.Program.App, e.Evidence, e.Program.Confidence = p.App, p.Evidence, p.Confidence
		e.Program.Version, e.Program.Publisher = p.Version, p.Publisher
		e.Verdict = s.opts.Policy.Decide(&policy.Input{Event: e, Now: e.Received, Final: true})
		j.results = append(j.results, Result{Finding: &Finding{Path: j.path, Real: j.real, File: j.stat, Event: e}})
	}
}
