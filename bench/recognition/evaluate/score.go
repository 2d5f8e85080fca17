package main

import (
	"math"
	"slices"
)

// pair is a label and what the recogniser said of its flow.
type pair struct {
	label   *label
	verdict *verdict // nil: there was no such flow
}

// match gives each label the verdict nearest in time, except that a label of no messenger takes a verdict that names one.
func match(labels []label, found map[string][]verdict) []pair {
	out := make([]pair, len(labels))
	for i := range labels {
		l := &labels[i]
		out[i].label = l
		list := found[l.key]
		for j := range list {
			v := &list[j]
			if best := out[i].verdict; best == nil || better(l, v, best) {
				out[i].verdict = v
			}
		}
	}
	return out
}

func better(l *label, v, best *verdict) bool {
	if l.app == "none" && (v.app != "") != (best.app != "") {
		return v.app != ""
	}
	return math.Abs(v.time-l.time) < math.Abs(best.time-l.time)
}

// outcome is how a verdict compares with its label.
type outcome uint8

const (
	trueNone outcome = iota
	right
	wrong  // another messenger
	missed // no messenger named
	falsely
	excused
)

func (o outcome) String() string {
	return [...]string{"none", "right", "wrong", "missed", "false", "excused"}[o]
}

// claims are the ids that a verdict stands for: the app, and the app with its service.
func (v *verdict) claims() []string {
	switch {
	case v == nil || v.app == "":
		return nil
	case v.service == "":
		return []string{v.app}
	}
	return []string{v.app, v.app + "_" + v.service}
}

func (p pair) outcome() outcome {
	claims := p.verdict.claims()
	none := p.label.app == "none"
	switch {
	case len(claims) == 0 && none:
		return trueNone
	case len(claims) == 0 && slices.Contains(p.label.accept, "none"):
		return excused
	case len(claims) == 0:
		return missed
	}
	hit := slices.Contains(claims, p.label.app) || slices.ContainsFunc(claims, func(c string) bool { return slices.Contains(p.label.accept, c) })
	switch {
	case hit && none:
		return excused
	case hit:
		return right
	case none:
		return falsely
	}
	return wrong
}

// tally counts outcomes.
type tally struct{ right, wrong, missed, falsely, none, excused int }

func (t *tally) add(o outcome) {
	switch o {
	case right:
		t.right++
	case wrong:
		t.wrong++
	case missed:
		t.missed++
	case falsely:
		t.falsely++
	case excused:
		t.excused++
	case trueNone:
		t.none++
	}
}

func (t tally) precision() float64 { return ratio(t.right, t.right+t.wrong+t.falsely) }
func (t tally) recall() float64    { return ratio(t.right, t.right+t.wrong+t.missed) }
func (t tally) flows() int         { return t.right + t.wrong + t.missed }

func (t tally) f1() float64 {
	p, r := t.precision(), t.recall()
	if p+r == 0 {
		return 0
	}
	return 2 * p * r / (p + r)
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}

// scores are the tallies of a group of flows, whole and by app. An app's wrong claims on other flows count against its precision.
type scores struct {
	all  tally
	apps map[string]*tally
}

// score counts the pairs that keep says.
func score(pairs []pair, keep func(pair) bool) scores {
	s := scores{apps: map[string]*tally{}}
	app := func(name string) *tally {
		if s.apps[name] == nil {
			s.apps[name] = &tally{}
		}
		return s.apps[name]
	}
	for _, p := range pairs {
		if !keep(p) {
			continue
		}
		o := p.outcome()
		s.all.add(o)
		switch o {
		case right, missed:
			app(p.label.app).add(o)
		case wrong:
			app(p.label.app).missed++
			app(p.verdict.app).falsely++
		case falsely:
			app(p.verdict.app).add(o)
		}
	}
	return s
}

// macro is the mean of the apps' F1, over those with labelled flows.
func (s scores) macro() (f1 float64, apps int) {
	for _, t := range s.apps {
		if t.flows() > 0 {
			f1 += t.f1()
			apps++
		}
	}
	if apps == 0 {
		return 1, 0
	}
	return f1 / float64(apps), apps
}

func plain(p pair) bool       { return p.label.kind != "dns" }
func independent(p pair) bool { return plain(p) && p.label.independent }
func dns(p pair) bool         { return !plain(p) }
