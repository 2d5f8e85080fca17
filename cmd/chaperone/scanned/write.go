// Package scanned writes what `chaperone scan` found: as lines for programs or as a table for people, each bomb once, and what can be done next.
package scanned

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// Bytes writes a size for people.
func Bytes(n int64) string {
	const unit = 1024
	switch {
	case n < unit*unit:
		return fmt.Sprintf("%.1f KiB", float64(n)/unit)
	case n < unit*unit*unit:
		return fmt.Sprintf("%.1f MiB", float64(n)/unit/unit)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/unit/unit/unit)
}

// Writer writes what was found, for people or for programs.
type Writer interface {
	Finding(f *scan.Finding) error
	Problem(p *scan.Problem) error
	Close(s scan.Summary, forbidden []*scan.Finding) error
}

type lines struct{ encoder *json.Encoder }

// NewLines returns the Writer of --json.
func NewLines(w io.Writer) Writer {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &lines{enc}
}

// Finding implements Writer.
func (s *lines) Finding(f *scan.Finding) error { return s.encoder.Encode(f.Line()) }

// Problem implements Writer.
func (s *lines) Problem(p *scan.Problem) error { return s.encoder.Encode(p.Line()) }

// Close writes the summary, which is the last line.
func (s *lines) Close(n scan.Summary, _ []*scan.Finding) error { return s.encoder.Encode(n.Line()) }

type table struct {
	out     io.Writer
	watched func(*scan.Finding) bool
	next    *Planner
	errors  int
}

// NewTable returns the Writer for people. watched tells whether policy only watches what it forbids, and next what could be done about it; nil when the
// run does it.
func NewTable(w io.Writer, watched func(*scan.Finding) bool, next *Planner) Writer {
	return &table{out: w, watched: watched, next: next}
}

// maxName bounds the name that people are shown; --json has it whole.
const maxName = 240

// Short is a name for one line of a terminal: of one that is very long, beginning and end.
func Short(name string) string {
	const mark = " … "
	text := []rune(printable.Line(name))
	if len(text) <= maxName {
		return string(text)
	}
	front := maxName / 3
	return string(text[:front]) + mark + string(text[len(text)-(maxName-front-len([]rune(mark))):])
}

// maxProblems bounds the problems that people are shown one by one.
const maxProblems = 50

// Finding implements Writer.
func (t *table) Finding(f *scan.Finding) error {
	l := f.Line()
	name := l.Path
	if l.Inside != "" {
		name += "!/" + l.Inside
	}
	app := l.App
	if app == "" {
		app = "(no messenger)"
	}
	verdict := string(l.Verdict)
	if f.Event.Verdict.Action.Stops() && t.watched(f) {
		verdict += " (monitor)"
	}
	if _, err := fmt.Fprintf(t.out, "%s\n  %s %s %s, confidence %.2f: %s by rule %s\n", Short(name), printable.Line(app), printable.Line(l.Format), l.Kind, l.Confidence, verdict, printable.Line(l.Rule)); err != nil {
		return err
	}
	if l.Publisher != "" || l.Version != "" {
		if _, err := fmt.Fprintf(t.out, "  version %s, publisher %s\n", orDash(l.Version), orDash(l.Publisher)); err != nil {
			return err
		}
	}
	if l.Kind == scan.History {
		if _, err := fmt.Fprintf(t.out, "  conversations may be kept here: owner %s, %d files, %s, last changed %s, sha256 %s\n", orDash(l.Owner), l.Files, Bytes(l.Size), orDash(l.ModifiedLast), l.SHA256); err != nil {
			return err
		}
	}
	for _, e := range l.Evidence {
		if _, err := fmt.Fprintf(t.out, "  - %s: %s (%.2f)\n", printable.Line(e.Fact), printable.Line(e.Value), e.Strength); err != nil {
			return err
		}
	}
	return nil
}

// Problem implements Writer.
func (t *table) Problem(p *scan.Problem) error {
	if t.errors++; t.errors > maxProblems {
		return nil
	}
	l := p.Line()
	name := l.Path
	if l.Inside != "" {
		name += "!/" + l.Inside
	}
	if l.Detail != "" {
		l.Reason += " (" + l.Detail + ")"
	}
	_, err := fmt.Fprintf(t.out, "%s\n  not looked into: %s\n", Short(name), printable.Line(l.Reason))
	return err
}

// Close says how much there was and what can be done next.
func (t *table) Close(s scan.Summary, forbidden []*scan.Finding) error {
	if t.errors > maxProblems {
		if _, err := fmt.Fprintf(t.out, "... and %d more that could not be looked into (--json shows all)\n", t.errors-maxProblems); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(t.out, "%d files, %s in %.1f s: %d findings, %d not looked into\n",
		s.Files, Bytes(s.Bytes), s.Took.Seconds(), s.Findings, s.Errors); err != nil {
		return err
	}
	if s.Known > 0 {
		if _, err := fmt.Fprintf(t.out, "%d of these files have not changed since an earlier scan found nothing in them (--full looks again)\n", s.Known); err != nil {
			return err
		}
	}
	return t.steps(forbidden)
}

// maxNext bounds the files for which the next step is said.
const maxNext = 10

// steps says what can be done about what policy forbids: nothing was changed yet.
func (t *table) steps(forbidden []*scan.Finding) error {
	if t.next == nil || len(forbidden) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nPolicy forbids what is in %d files. Nothing was changed. What can be done:\n", len(forbidden))
	said := map[string]bool{}
	for _, f := range forbidden[:min(len(forbidden), maxNext)] {
		a := t.next.Act(context.Background(), f)
		name := Short(a.Path)
		switch a.Action {
		case actNone:
			fmt.Fprintf(&b, "  %s: %s\n", name, printable.Line(a.Note))
			continue
		case actRemove:
			fmt.Fprintf(&b, "  %s: belongs to a package; --remove would run: %s\n", name, printable.Line(a.Command))
		default:
			fmt.Fprintf(&b, "  %s: --quarantine moves it away; chaperone quarantine restore brings it back\n", name)
		}
		for _, s := range a.stores {
			if !said[s.Path] && len(said) < maxNext {
				fmt.Fprintf(&b, "    --remove would first seal the history of %s in %s\n", printable.Line(s.App), Short(s.Path))
				said[s.Path] = true
			}
		}
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable.Line(s)
}
