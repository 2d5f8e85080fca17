package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// print writes the results as a table for people, the findings behind it, or as one line of JSON each.
func printResults(out io.Writer, results []*Result, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		for _, r := range results {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "parser\tseeds\tmutations\tread whole\tfindings\tpanics caught\tslowest\tallocated at most\tthrough the scanner")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%d\t%s\t%s\t%s\n", r.Parser, r.Seeds, r.Tally.Done, share(r.Tally.Clean, r.Tally.Done), r.faults(), len(r.Findings)-r.faults(),
			r.Tally.Slowest.Round(10*time.Microsecond), size(r.Tally.Largest), answers(r))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		for _, f := range r.Findings {
			fmt.Fprintf(out, "%s: %s, input %d of seed %d (%s): %s\n", f.Parser, f.Kind, f.Index, r.Number, f.File, f.Detail)
		}
	}
	return nil
}

func share(part, all uint64) string {
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(all))
}

func size(n uint64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// answers are those of the scanner, the most frequent first.
func answers(r *Result) string {
	if r.DoorDone == 0 {
		return "-"
	}
	keys := slices.Sorted(maps.Keys(r.Door))
	slices.SortStableFunc(keys, func(a, b string) int { return r.Door[b] - r.Door[a] })
	var parts []string
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%s %d", k, r.Door[k]))
	}
	return fmt.Sprintf("%d: %s", r.DoorDone, strings.Join(parts, ", "))
}
