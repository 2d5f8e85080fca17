package inspection

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// flowTable is the Writer for people: a line per messenger and machine, with the best evidence, and a summary.
type flowTable struct {
	out      io.Writer
	decider  policy.Decider // nil: the verdicts say themselves whether they are enforced
	evidence bool           // all of it, below each line
	groups   map[groupKey]*group
	flows    int
	named    int
	stops    int
	apps     map[string]bool
	errs     []string
	reading  *total
}

type groupKey struct{ app, host string }

type group struct {
	groupKey
	number     int // of the flow with the best evidence, as --explain takes it
	confidence float64
	verdict    string
	rule       string
	watched    bool
	evidence   string
	flows      int
	bytes      int64
	phases     map[string]int
	facts      map[event.Evidence]*seenFact // without values
}

// seenFact is a fact that spoke for flows of a group, with the first value and flow.
type seenFact struct {
	value  string
	number int
	flows  int
}

// Bounds of the table.
const (
	maxGroups = 10000
	maxFacts  = 64 // of one group
)

// NewTable returns a Writer for people; with evidence, all of it below each line. The decider of the verdicts is asked in which mode they are.
func NewTable(w io.Writer, d policy.Decider, evidence bool) Writer {
	return &flowTable{out: w, decider: d, evidence: evidence, groups: map[groupKey]*group{}, apps: map[string]bool{}}
}

func (t *flowTable) flow(f *classify.Finding, host string) error {
	t.flows++
	if f.Flow.App != "" {
		t.named++
		t.apps[f.Flow.App] = true
	}
	if f.Verdict.Action.Stops() {
		t.stops++
	}
	if f.Flow.App == "" && !f.Verdict.Action.Stops() {
		return nil
	}
	if host == "" {
		if a, err := netip.ParseAddrPort(f.Flow.Client); err == nil {
			host = a.Addr().String()
		}
	}
	key := groupKey{cmp.Or(f.Flow.App, "(unknown)"), host}
	g := t.groups[key]
	if g == nil {
		if len(t.groups) >= maxGroups {
			return nil
		}
		g = &group{groupKey: key, phases: map[string]int{}, facts: map[event.Evidence]*seenFact{}}
		t.groups[key] = g
	}
	if g.add(f, t.flows) {
		g.watched = f.Verdict.Action != event.Allow && watched(t.decider, f)
	}
	return nil
}

// watched reports whether the mode of what forbids a flow is monitor.
func watched(d policy.Decider, f *classify.Finding) bool {
	if d == nil || f.Verdict.Enforced {
		return !f.Verdict.Enforced
	}
	return policy.Watched(d, f.Event())
}

// add counts a flow, the number-th of all, and reports whether it is the one with the best evidence so far.
func (g *group) add(f *classify.Finding, number int) (best bool) {
	g.flows++
	g.bytes += f.Flow.Bytes
	if f.Flow.Service != "" {
		g.phases[f.Flow.Service]++
	}
	if c := f.Flow.Confidence.Float(); c > g.confidence || g.number == 0 {
		best = true
		g.confidence, g.number = c, number
		g.verdict, g.rule = string(f.Verdict.Action), f.Verdict.Rule
		if len(f.Evidence) > 0 {
			g.evidence = f.Evidence[0].Fact + ": " + f.Evidence[0].Value
		}
	}
	for _, e := range f.Evidence {
		key := event.Evidence{Fact: e.Fact, Strength: e.Strength, Source: e.Source}
		if s := g.facts[key]; s != nil {
			s.flows++
		} else if len(g.facts) < maxFacts {
			g.facts[key] = &seenFact{e.Value, number, 1}
		}
	}
	return best
}

func (t *flowTable) failure(capture string, err error) error {
	what := "not read to the end"
	if errors.Is(err, errUnopened) {
		what = "not opened"
	}
	t.errs = append(t.errs, fmt.Sprintf("%s: %s: %v", what, capture, err))
	return nil
}

// read takes what was read in all, for the summary.
func (t *flowTable) read(r *total) { t.reading = r }

func (t *flowTable) Close() error {
	sorted := slices.SortedFunc(maps.Values(t.groups), func(a, b *group) int { return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.host, b.host)) })
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', 0)
	if len(sorted) > 0 {
		fmt.Fprintln(w, "MESSENGER\tHOST\tFLOWS\tBYTES\tPHASES\tCONFIDENCE\tVERDICT\tRULE\tFLOW\tEVIDENCE")
	}
	for _, g := range sorted {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%.2f\t%s\t%s\t%d\t%s\n", printable.Line(g.app), printable.Line(g.host), g.flows, g.bytes, cmp.Or(g.phaseList(), "-"),
			g.confidence, g.decided(), printable.Line(g.rule), g.number, printable.Line(g.evidence))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if t.evidence {
		if err := t.allEvidence(sorted); err != nil {
			return err
		}
	}
	return t.summary()
}

func (g *group) decided() string {
	if g.watched {
		return g.verdict + " (monitor)"
	}
	return g.verdict
}

// phaseList returns the phases that were seen, as "call 2, login 1"; flows of no known phase are not named.
func (g *group) phaseList() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(g.phases)) {
		out = append(out, fmt.Sprintf("%s %d", printable.Line(name), g.phases[name]))
	}
	return strings.Join(out, ", ")
}

// allEvidence writes every fact that spoke for a group, the strongest first, with the flow that showed it first.
func (t *flowTable) allEvidence(sorted []*group) error {
	for _, g := range sorted {
		fmt.Fprintf(t.out, "\n%s on %s\n", printable.Line(g.app), printable.Line(g.host))
		keys := slices.SortedFunc(maps.Keys(g.facts), func(a, b event.Evidence) int {
			return cmp.Or(cmp.Compare(b.Strength, a.Strength), cmp.Compare(g.facts[a].number, g.facts[b].number), cmp.Compare(a.Fact, b.Fact))
		})
		for _, k := range keys {
			s := g.facts[k]
			line := fmt.Sprintf("%.2f  %s: %s; %d flows, first %d", k.Strength.Float(), k.Fact, s.value, s.flows, s.number)
			if k.Source != "" {
				line += "; " + k.Source
			}
			fmt.Fprintln(t.out, " ", printable.Line(line))
		}
	}
	if len(sorted) > 0 {
		_, err := fmt.Fprintln(t.out)
		return err
	}
	return nil
}

func (t *flowTable) summary() error {
	if r := t.reading; r != nil && r.captures > 0 && r.opened == 0 { // there is nothing to sum up
		return t.troubles()
	}
	if _, err := fmt.Fprintf(t.out, "%d flows: %d of messengers, %d that policy forbids\n", t.flows, t.named, t.stops); err != nil {
		return err
	}
	if r := t.reading; r != nil {
		text := fmt.Sprintf("%d messengers, %d flows unknown; %d packets, ", len(t.apps), t.flows-t.named, r.counts.Packets)
		if r.captures > 0 {
			text += fmt.Sprintf("%d cut short; %d captures, %d with errors", r.counts.Cut, r.captures, len(t.errs))
		} else {
			text += fmt.Sprintf("%d of %d dropped by the kernel", r.kernel.Dropped, r.kernel.Packets)
		}
		if r.counts.Evicted > 0 {
			text += fmt.Sprintf("; %d flows left early for lack of room", r.counts.Evicted)
		}
		fmt.Fprintln(t.out, text)
	}
	return t.troubles()
}

// troubles says what could not be read.
func (t *flowTable) troubles() error {
	for _, e := range t.errs {
		if _, err := fmt.Fprintln(t.out, printable.Line(e)); err != nil {
			return err
		}
	}
	return nil
}
