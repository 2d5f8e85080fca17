package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// group is a kind of flow with a goal of its own for the packets to its verdict.
type group struct {
	name        string
	median, p90 int64 // goals
}

func groups() []group {
	return []group{{"TCP", 4, 6}, {"UDP", 1, 3}, {"QUIC", 2, 2}, {"known endpoint", 1, 1}, {"revised", 0, 0}}
}

// groupOf returns the group's place in groups. A known endpoint is one that DNS, an address range or another flow of the host told of
// before: nothing of the flow itself is needed.
func (p pair) groupOf() int {
	fact := p.verdict.deciding()
	switch {
	case p.verdict.revised:
		return 4
	case strings.HasPrefix(fact, "answer ") || strings.HasPrefix(fact, "address:"):
		return 3
	case p.label.kind == "quic":
		return 2
	case p.verdict.proto == "udp":
		return 1
	}
	return 0
}

// deciding returns the strongest fact of the verdict.
func (v *verdict) deciding() string {
	var best evidence
	for _, e := range v.evidence {
		if e.Strength > best.Strength {
			best = e
		}
	}
	return best.Fact
}

// waits returns the packets to verdict of right flows, sorted, by group.
func waits(pairs []pair) [][]int64 {
	out := make([][]int64, len(groups()))
	for _, p := range pairs {
		if plain(p) && p.outcome() == right {
			g := p.groupOf()
			out[g] = append(out[g], p.verdict.packets)
		}
	}
	for i := range out {
		slices.Sort(out[i])
	}
	return out
}

// quantile returns the least value of the sorted list that at least the share of it does not exceed.
func quantile(sorted []int64, share float64) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(share*float64(len(sorted))))-1)]
}

func listSlow(out io.Writer, pairs []pair) {
	for _, p := range pairs {
		if plain(p) && p.outcome() == right {
			if g := groups()[p.groupOf()]; p.verdict.packets > g.p90 && !p.verdict.revised {
				fmt.Fprintf(out, "slow   %-14s %-22s after %d by %s: %s\n", g.name, p.label.app, p.verdict.packets, p.verdict.deciding(), p.label.key)
			}
		}
	}
}

func listErrors(out io.Writer, pairs []pair) {
	for _, p := range pairs {
		if o := p.outcome(); o == wrong || o == missed || o == falsely {
			fmt.Fprintf(out, "%-6s %-22s got %-26s %-6s %s  %.120s\n", o, p.label.app, strings.Join(p.verdict.claims(), "/"), p.label.kind, p.label.key, p.label.about)
		}
	}
}
