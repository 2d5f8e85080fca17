package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// goal is one measure with what it is to be.
type goal struct {
	what string
	got  float64
	most float64 // 0: no goal
	unit string
}

// meets reports whether the goal is met.
func (g goal) meets() bool { return g.most == 0 || g.got <= g.most }

// table prints all measures, each with its goal, and whether it was met.
func table(out io.Writer, list []goal) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "\nMEASURE\tGOT\tGOAL\t")
	for _, g := range list {
		want, word := "-", ""
		if g.most > 0 {
			want, word = fmt.Sprintf("<= %g %s", g.most, g.unit), "met"
		}
		if !g.meets() {
			word = "MISSED"
		}
		fmt.Fprintf(w, "%s\t%.1f %s\t%s\t%s\n", g.what, g.got, g.unit, want, word)
	}
	return w.Flush()
}
