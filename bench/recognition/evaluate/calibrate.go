package main

import (
	"cmp"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
)

type evidence = event.Evidence

// claim is one flow that was called a messenger.
type claim struct {
	class   string // of evidence
	stated  float64
	fitted  float64 // by the captures of other folds
	right   bool
	capture string
}

// bin is the claims whose confidence is near one value.
type bin struct {
	stated   float64 // mean
	claims   int
	right    int
	captures int
	flawless int // captures in which all were right
}

// calibration compares confidence with what was right.
type calibration struct {
	byStated []bin          // as the product says it
	byFitted []bin          // as frequencies of other captures would
	classes  map[string]bin // by class of evidence
	stated   deviation      // of the confidence as stated
	fitted   deviation      // and as fitted
}

// deviation are two measures of calibration.
type deviation struct{ brier, expected float64 }

const folds = 10

// calibrate measures. The fitted confidence of a claim is the share of right ones, smoothed after Laplace, among the claims of its class
// in the captures of the other folds.
func calibrate(pairs []pair) calibration {
	var claims []claim
	for _, p := range pairs {
		if o := p.outcome(); plain(p) && (o == right || o == wrong || o == falsely) {
			claims = append(claims, claim{
				class: classOf(p.verdict), stated: p.verdict.confidence.Float(), right: o == right, capture: p.label.capture,
			})
		}
	}
	for i := range claims {
		hits, all := 1.0, 2.0
		for j := range claims {
			if claims[j].class == claims[i].class && foldOf(claims[j].capture) != foldOf(claims[i].capture) {
				all++
				if claims[j].right {
					hits++
				}
			}
		}
		claims[i].fitted = hits / all
	}
	stated := func(c claim) float64 { return c.stated }
	fitted := func(c claim) float64 { return c.fitted }
	return calibration{
		byStated: bins(claims, stated), byFitted: bins(claims, fitted), classes: byClass(claims),
		stated: measure(claims, stated), fitted: measure(claims, fitted),
	}
}

func foldOf(capture string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(capture))
	return h.Sum32() % folds
}

// classOf names the kind of the evidence that decided: what was read, not what it said.
func classOf(v *verdict) string {
	fact := v.deciding()
	switch word, _, _ := strings.Cut(fact, ":"); {
	case word == "socket", word == "neighbour":
		return "socket"
	case strings.HasPrefix(fact, "traffic:skype-"):
		return "behaviour"
	case word == "traffic":
		return "grammar"
	default:
		return strings.TrimSuffix(word, " name")
	}
}

// bins groups claims by confidence, to a twentieth.
func bins(claims []claim, confidence func(claim) float64) []bin {
	groups := map[int][]claim{}
	for _, c := range claims {
		n := int(math.Round(confidence(c) * 20))
		if confidence(c) > 0.97 {
			n = 21 // what is called certain stands apart
		}
		groups[n] = append(groups[n], c)
	}
	var out []bin
	for _, n := range slices.Sorted(maps.Keys(groups)) {
		out = append(out, binOf(groups[n], confidence))
	}
	return out
}

func binOf(claims []claim, confidence func(claim) float64) bin {
	b := bin{claims: len(claims)}
	captures := map[string]bool{} // all right
	for _, c := range claims {
		b.stated += confidence(c) / float64(len(claims))
		flawless, seen := captures[c.capture]
		captures[c.capture] = c.right && (flawless || !seen)
		if c.right {
			b.right++
		}
	}
	b.captures = len(captures)
	for _, flawless := range captures {
		if flawless {
			b.flawless++
		}
	}
	return b
}

func byClass(claims []claim) map[string]bin {
	groups := map[string][]claim{}
	for _, c := range claims {
		groups[c.class] = append(groups[c.class], c)
	}
	out := map[string]bin{}
	for class, list := range groups {
		out[class] = binOf(list, func(c claim) float64 { return c.stated })
	}
	return out
}

// measure returns the Brier score, and the mean distance of confidence and share of right ones over the bins.
func measure(claims []claim, confidence func(claim) float64) (e deviation) {
	for _, c := range claims {
		is := 0.0
		if c.right {
			is = 1
		}
		e.brier += (confidence(c) - is) * (confidence(c) - is) / float64(len(claims))
	}
	for _, b := range bins(claims, confidence) {
		e.expected += math.Abs(b.stated-b.share()) * float64(b.claims) / float64(len(claims))
	}
	return e
}

func (b bin) share() float64 { return ratio(b.right, b.claims) }

// interval is of the share of captures without a mistake, after Wilson, at 95 %. Flows of one capture stand and fall together: it is
// captures, not flows, that are drawn from the world.
func (b bin) interval() (low, high float64) {
	const z = 1.96
	n, p := float64(b.captures), ratio(b.flawless, b.captures)
	if n == 0 {
		return 0, 1
	}
	middle := (p + z*z/(2*n)) / (1 + z*z/n)
	width := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, middle-width), min(1, middle+width)
}

func (c calibration) sortedClasses() []string {
	return slices.SortedFunc(maps.Keys(c.classes), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.classes[b].claims, c.classes[a].claims), strings.Compare(a, b))
	})
}
