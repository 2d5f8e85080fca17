package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// flowTable is the flowWriter for people: a line per messenger and machine, with the best evidence.
type flowTable struct {
	out    io.Writer
	groups map[groupKey]*group
	flows  int
	named  int
	stops  int
	errs   []string
}

type groupKey struct{ app, host string }

type group struct {
	groupKey
	confidence float64
	verdict    string
	rule       string
	enforced   bool
	evidence   string
	flows      int
	bytes      int64
	first      time.Time
}

// maxGroups bounds the lines of the table.
const maxGroups = 10000

func newFlowTable(w io.Writer) *flowTable {
	return &flowTable{out: w, groups: map[groupKey]*group{}}
}

func (t *flowTable) flow(f *classify.Finding, host string) error {
	t.flows++
	if f.Flow.App != "" {
		t.named++
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
		g = &group{groupKey: key, first: f.FirstSeen}
		t.groups[key] = g
	}
	g.flows++
	g.bytes += f.Flow.Bytes
	if c := f.Flow.Confidence.Float(); c > g.confidence || g.evidence == "" {
		g.confidence = c
		g.verdict, g.rule, g.enforced = string(f.Verdict.Action), f.Verdict.Rule, f.Verdict.Enforced
		if len(f.Evidence) > 0 {
			g.evidence = f.Evidence[0].Fact + ": " + f.Evidence[0].Value
		}
	}
	return nil
}

func (t *flowTable) failure(capture string, err error) error {
	t.errs = append(t.errs, fmt.Sprintf("%s: %v", filepath.Base(capture), err))
	return nil
}

func (t *flowTable) close() error {
	sorted := make([]*group, 0, len(t.groups))
	for _, g := range t.groups {
		sorted = append(sorted, g)
	}
	slices.SortFunc(sorted, func(a, b *group) int { return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.host, b.host)) })
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', 0)
	if len(sorted) > 0 {
		fmt.Fprintln(w, "MESSENGER\tHOST\tFLOWS\tBYTES\tCONFIDENCE\tVERDICT\tRULE\tEVIDENCE")
	}
	for _, g := range sorted {
		verdict := g.verdict
		if !g.enforced && verdict != "allow" {
			verdict += " (monitor)"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%.2f\t%s\t%s\t%s\n", printable.Line(g.app), printable.Line(g.host), g.flows, g.bytes, g.confidence, verdict, printable.Line(g.rule), printable.Line(g.evidence))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(t.out, "%d flows: %d of messengers, %d that policy forbids\n", t.flows, t.named, t.stops); err != nil {
		return err
	}
	for _, e := range t.errs {
		if _, err := fmt.Fprintln(t.out, "not read to the end:", printable.Line(fmt.Sprint(e))); err != nil {
			return err
		}
	}
	return nil
}

// progress is a reader that tells how far it is.
type progress struct {
	out  io.Writer
	name string
	size int64
	in   io.Reader
	read int64
	said int64
}

// Read reads on, and says each per cent.
func (p *progress) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	p.read += int64(n)
	if done := p.read * 100 / max(p.size, 1); done != p.said {
		p.said = done
		fmt.Fprintf(p.out, "\r%s: %d %%", p.name, done)
	}
	return n, err
}

func (p *progress) clear() { fmt.Fprint(p.out, "\r\x1b[K") }

// progressOn returns w when it is a terminal, else nil.
func progressOn(w io.Writer) io.Writer {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return w
}
