package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/network/classify"
)

const pageHead = `# Recognition: the figures

Made by ` + "`go run ./bench/recognition/evaluate -write docs/reference FOLDER`" + `, where FOLDER holds labelled captures: do not edit. What the figures mean, and how
flows are recognised, is in [recognition](../guide/recognition.md). Made on %s.

`

// report writes all tables.
func (e *evaluation) report(w io.Writer) {
	fmt.Fprintf(w, "## Scores\n\n%d captures, %d scored flows. DNS questions stand apart: they are easy and many.\n\n", e.captures, len(e.pairs))
	fmt.Fprintln(w, "| flows | of messengers | of none | precision | recall | micro F1 | macro F1 | wrong | false |\n|---|---|---|---|---|---|---|---|---|")
	line := func(name string, s scores) {
		macro, apps := s.macro()
		fmt.Fprintf(w, "| %s | %d | %d | %.3f | %.3f | %.3f | %.3f (%d apps) | %d | %d |\n", name, s.all.flows(), s.all.none+s.all.falsely,
			s.all.precision(), s.all.recall(), s.all.f1(), macro, apps, s.all.wrong, s.all.falsely)
	}
	line("in-sample", score(e.pairs, plain))
	if len(e.disputes) > 0 {
		line(fmt.Sprintf("in-sample, %d labels put right", len(e.disputes)), score(e.corrected, plain))
	}
	line("in-sample, labels that rest on no engine", score(e.pairs, independent))
	line("left out: thresholds fitted on the other sources", score(e.left.refitted, plain))
	line("left out, labels that rest on no engine", score(e.left.refitted, independent))
	line("lower bound: facts that another source confirms", score(e.left.confirmed, plain))
	line("DNS questions, in-sample", score(e.pairs, dns))
	e.reportDisputes(w)
	e.reportWaits(w)
	e.reportApps(w)
	e.reportChosen(w)
	e.reportCalibration(w)
	e.reportBehaviour(w)
}

func (e *evaluation) reportWaits(w io.Writer) {
	fmt.Fprintf(w, "\n## Packets to verdict, of right flows\n\n| flows | number | median | 90 %% | goal |\n|---|---|---|---|---|\n")
	list := waits(e.pairs)
	for i, g := range groups() {
		goal := "none"
		if g.p90 > 0 {
			goal = fmt.Sprintf("%d, %d", g.median, g.p90)
		}
		fmt.Fprintf(w, "| %s | %d | %d | %d | %s |\n", g.name, len(list[i]), quantile(list[i], 0.5), quantile(list[i], 0.9), goal)
	}
	fmt.Fprintln(w, "\nA known endpoint is one that a DNS answer or an address range names: its verdict needs nothing of the flow itself.\n"+
		"A revised verdict was taught by a later flow; its packets are what the flow had shown by then.")
}

func (e *evaluation) reportApps(w io.Writer) {
	fmt.Fprint(w, "\n## By messenger\n\nRecall in-sample; with thresholds fitted on the other sources; and by facts alone that another source confirms. A messenger with one source\n"+
		"has none to confirm it: its last figure is 0 by construction, and its first says little.\n\n"+
		"| messenger | sources | captures | flows | precision | recall | refitted | confirmed | learned from captures |\n|---|---|---|---|---|---|---|---|---|\n")
	in, refitted, confirmed := score(e.pairs, plain), score(e.left.refitted, plain), score(e.left.confirmed, plain)
	sources, captures := map[string]map[string]bool{}, map[string]map[string]bool{}
	for _, p := range e.pairs {
		if plain(p) {
			note(sources, p.label.app, p.label.source)
			note(captures, p.label.app, p.label.capture)
		}
	}
	names := slices.SortedFunc(maps.Keys(in.apps), func(a, b string) int {
		return cmp.Or(cmp.Compare(in.apps[b].flows(), in.apps[a].flows()), strings.Compare(a, b))
	})
	recall := func(s scores, app string) float64 {
		if t := s.apps[app]; t != nil {
			return t.recall()
		}
		return 1
	}
	for _, app := range names {
		if t := in.apps[app]; t.flows() > 0 {
			fmt.Fprintf(w, "| %s | %d | %d | %d | %.2f | %.2f | %.2f | %.2f | %s |\n", app, len(sources[app]), len(captures[app]), t.flows(),
				precisionOf(in, app), t.recall(), recall(refitted, app), recall(confirmed, app), learned(app))
		}
	}
}

// precisionOf counts the claims of an app against the label that stands for its calls as well.
func precisionOf(s scores, app string) float64 {
	t := *s.apps[app]
	if base, call := strings.CutSuffix(app, "_call"); call && s.apps[base] != nil && s.apps[base].flows() == 0 {
		t.falsely += s.apps[base].falsely
	}
	return t.precision()
}

func learned(app string) string {
	if app == "skype" {
		return "peers, steps, shares of its UDP socket"
	}
	return "nothing"
}

func note(m map[string]map[string]bool, key, value string) {
	if m[key] == nil {
		m[key] = map[string]bool{}
	}
	m[key][value] = true
}

func (e *evaluation) reportChosen(w io.Writer) {
	fmt.Fprintf(w, "\n## Thresholds\n\nWhat the product uses, and what all other sources choose when one is left out.\n\n| left out | peers | step | share | misfit |\n|---|---|---|---|---|\n")
	line := func(name string, t classify.Thresholds) {
		fmt.Fprintf(w, "| %s | %d | %d | %g | %g |\n", name, t.SkypePeers, t.SkypeStep, t.SkypeShare, t.SkypeMisfit)
	}
	line("(the product)", classify.DefaultThresholds())
	by := map[classify.Thresholds][]string{}
	for _, source := range e.left.sources {
		t := e.left.chosen[source]
		by[t] = append(by[t], source)
	}
	var rows []string
	for t, list := range by {
		var b strings.Builder
		name := strings.Join(list, ", ")
		if len(list) > 6 {
			name = fmt.Sprintf("each of %d others", len(list))
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %g | %g |\n", name, t.SkypePeers, t.SkypeStep, t.SkypeShare, t.SkypeMisfit)
		rows = append(rows, b.String())
	}
	slices.Sort(rows)
	fmt.Fprint(w, strings.Join(rows, ""))
}

func (e *evaluation) reportCalibration(w io.Writer) {
	c := &e.calibration
	fmt.Fprintf(w, "\n## Confidence\n\n![What was called so sure, against how often it was right](recognition-reliability.svg)\n\n")
	fmt.Fprintln(w, "| called | flows | right | captures | without a mistake | 95 % interval of that |\n|---|---|---|---|---|---|")
	for _, b := range c.byStated {
		low, high := b.interval()
		fmt.Fprintf(w, "| %.2f | %d | %.3f | %d | %d | %.2f to %.2f |\n", b.stated, b.claims, b.share(), b.captures, b.flawless, low, high)
	}
	fmt.Fprintf(w, "\nAs stated: Brier score %.4f, expected error of calibration %.3f. Fitted by class of evidence on the captures of other folds: %.4f, %.3f.\n",
		c.stated.brier, c.stated.expected, c.fitted.brier, c.fitted.expected)
	fmt.Fprint(w, "\n| decided by | stated | flows | right | captures | without a mistake | 95 % interval of that |\n|---|---|---|---|---|---|---|\n")
	for _, class := range c.sortedClasses() {
		b := c.classes[class]
		low, high := b.interval()
		fmt.Fprintf(w, "| %s | %.2f | %d | %.3f | %d | %d | %.2f to %.2f |\n", class, b.stated, b.claims, b.share(), b.captures, b.flawless, low, high)
	}
	fmt.Fprintln(w, "\nThe interval counts captures, for the flows of one stand and fall together: few captures allow little, whatever was right in them.")
}
