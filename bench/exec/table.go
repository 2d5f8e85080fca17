package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// table prints what was measured, with the goals of the project.
type table struct {
	out io.Writer
}

func (t *table) head(cores int, load string) {
	fmt.Fprintf(t.out, "medians, turn by turn in one run; %d cores, load average %s before it\n\n%-58s %10s %10s %6s  %s\n", cores, load, "", "unwatched", "watched", "ratio", "goal")
}

// row prints one comparison, and returns its ratio.
func (t *table) row(what string, plain, watched time.Duration, goals ...goal) float64 {
	ratio := float64(watched) / float64(plain)
	fmt.Fprintf(t.out, "%-58s %10s %10s %6.2f  %s\n", what, short(plain), short(watched), ratio, words(ratio, watched, goals))
	return ratio
}

// goal is what a ratio, or a time, should not be above. The zero bound of a peer that was not measured is none.
type goal struct {
	what  string
	ratio float64
	time  time.Duration
}

// words says whether the goals were met. A ratio is held to its goal as it is printed.
func words(ratio float64, took time.Duration, goals []goal) string {
	if len(goals) == 0 {
		return "-"
	}
	text, verdict := "", "met"
	for i, g := range goals {
		if i > 0 {
			text += ", "
		}
		text += g.what
		switch {
		case g.ratio == 0 && g.time == 0:
			text += " (not measured)"
		case g.time > 0 && took > g.time, g.ratio > 0 && hundredths(ratio) > hundredths(g.ratio):
			verdict = "MISSED"
		}
	}
	return text + ": " + verdict
}

func hundredths(x float64) int { return int(math.Round(x * 100)) }

func short(d time.Duration) string {
	us := float64(d.Nanoseconds()) / 1e3
	switch {
	case us >= 10000:
		return fmt.Sprintf("%.1f ms", us/1e3)
	case us >= 100:
		return fmt.Sprintf("%.0f µs", us)
	}
	return fmt.Sprintf("%.2f µs", us)
}

// interleave lets the contenders take turns, in an order that turns too, and returns the median of what each took.
func interleave(rounds int, contenders ...func() (time.Duration, error)) ([]time.Duration, error) {
	times := make([][]time.Duration, len(contenders))
	for r := range rounds {
		for i := range contenders {
			at := (i + r) % len(contenders)
			took, err := contenders[at]()
			if err != nil {
				return nil, err
			}
			times[at] = append(times[at], took)
		}
	}
	out := make([]time.Duration, len(contenders))
	for i := range times {
		out[i] = median(times[i])
	}
	return out, nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
