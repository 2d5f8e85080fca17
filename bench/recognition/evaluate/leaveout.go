package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/network/classify"
)

// leftOut holds the scores of each source by what was fitted, or confirmed, without it.
type leftOut struct {
	refitted  []pair                         // with thresholds fitted on the other sources
	chosen    map[string]classify.Thresholds // by source
	confirmed []pair                         // only by facts that another source confirms; the thresholds are the product's
	sources   []string
}

// leaveOut does both.
func leaveOut(r *runner, labels []label, pairs []pair) (leftOut, error) {
	out := leftOut{chosen: map[string]classify.Thresholds{}, sources: sourcesOf(labels)}
	f := fitter{runner: r, labels: labels, done: map[classify.Thresholds][]pair{classify.DefaultThresholds(): pairs}}
	for _, source := range out.sources {
		t, err := f.fit(source)
		if err != nil {
			return out, err
		}
		out.chosen[source] = t
		for _, p := range f.done[t] {
			if p.label.source == source {
				out.refitted = append(out.refitted, p)
			}
		}
	}
	out.confirmed = confirmedElsewhere(pairs)
	return out, nil
}

func sourcesOf(labels []label) []string {
	set := map[string]bool{}
	for i := range labels {
		set[labels[i].source] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// fitter fits thresholds, and remembers what each choice gave.
type fitter struct {
	runner *runner
	labels []label
	done   map[classify.Thresholds][]pair
}

// setting changes one threshold.
type setting func(t *classify.Thresholds)

// settings are the values that are tried for each threshold, the strictest first: where the training sources do not tell two apart, the
// stricter one is taken.
func settings() [][]setting {
	var peers, steps, shares, misfits []setting
	for _, n := range []int{16, 12, 8, 6, 4} {
		peers = append(peers, func(t *classify.Thresholds) { t.SkypePeers = n })
	}
	for _, n := range []uint16{16, 64, 256, 1024} {
		steps = append(steps, func(t *classify.Thresholds) { t.SkypeStep = n })
	}
	for _, x := range []float64{0.95, 0.8, 0.6} {
		shares = append(shares, func(t *classify.Thresholds) { t.SkypeShare = x })
	}
	for _, x := range []float64{0.05, 0.1, 0.3} {
		misfits = append(misfits, func(t *classify.Thresholds) { t.SkypeMisfit = x })
	}
	return [][]setting{peers, steps, shares, misfits}
}

// fit chooses the thresholds by all sources but one: threshold by threshold, twice, from the strictest of each.
func (f *fitter) fit(without string) (classify.Thresholds, error) {
	t := classify.DefaultThresholds()
	for _, values := range settings() {
		values[0](&t)
	}
	for range 2 {
		for _, values := range settings() {
			best := -1.0
			chosen := t
			for _, set := range values {
				try := t
				set(&try)
				pairs, err := f.pairs(try)
				if err != nil {
					return t, err
				}
				s := score(pairs, func(p pair) bool { return plain(p) && p.label.source != without })
				if f1 := s.all.f1(); f1 > best {
					best, chosen = f1, try
				}
			}
			t = chosen
		}
	}
	return t, nil
}

func (f *fitter) pairs(t classify.Thresholds) ([]pair, error) {
	if pairs, ok := f.done[t]; ok {
		return pairs, nil
	}
	found, err := f.runner.run(t)
	if err != nil {
		return nil, err
	}
	f.done[t] = match(f.labels, found)
	return f.done[t], nil
}

// confirmedElsewhere takes away the verdicts whose facts no right flow of another source shows: as if the whole catalog had been read off
// the other sources. It is a lower bound, for most facts were not: they are from documents.
func confirmedElsewhere(pairs []pair) []pair {
	seen := map[string]map[string]bool{} // app and fact → sources
	for _, p := range pairs {
		if p.outcome() != right {
			continue
		}
		for _, e := range p.verdict.evidence {
			key := p.verdict.app + " " + factOf(e.Fact)
			if seen[key] == nil {
				seen[key] = map[string]bool{}
			}
			seen[key][p.label.source] = true
		}
	}
	out := slices.Clone(pairs)
	for i, p := range out {
		if v := p.verdict; v != nil && v.app != "" && !slices.ContainsFunc(v.evidence, func(e evidence) bool {
			sources := seen[v.app+" "+factOf(e.Fact)]
			return len(sources) > 1 || len(sources) == 1 && !sources[p.label.source]
		}) {
			unknown := *v
			unknown.app, unknown.service = "", ""
			out[i].verdict = &unknown
		}
	}
	return out
}

// factOf returns the fact of the catalog that evidence rests on: without the decoder that saw a name, or the socket that passed it on.
func factOf(fact string) string {
	fact = strings.TrimPrefix(strings.TrimPrefix(fact, "socket:"), "neighbour:")
	if i := strings.LastIndexByte(fact, ' '); i >= 0 {
		return fact[i+1:]
	}
	return fact
}
