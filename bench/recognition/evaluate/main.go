// Command evaluate says how well flows are recognised: it runs the recogniser over a folder of labelled captures and scores it in-sample,
// by leave-one-source-out, and by how honest its confidence is.
//
//	go run ./bench/recognition/evaluate [-errors] [-slow] [-write DIR] FOLDER
//
// FOLDER holds captures and labels.csv (docs/guide/recognition.md says of what). A source is the part of a capture's name before "__". With -write the
// tables go to DIR/recognition-scores.md and the reliability plot to DIR/recognition-reliability.svg.
//
// What is fitted by looking at captures (classify.Thresholds, and the map from evidence to confidence) is fitted again without each
// source, and scored on it. What was written by hand cannot be unlearned, so the second left-out figure asks more: a fact counts only
// when a flow of another source confirms it.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/classify"
)

func main() {
	var o options
	flag.BoolVar(&o.errors, "errors", false, "list every wrong, missed and false flow")
	flag.BoolVar(&o.slow, "slow", false, "list the right flows whose verdict came after the goal")
	flag.StringVar(&o.write, "write", "", "write tables and plot to this folder")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: evaluate [-errors] [-slow] [-write DIR] FOLDER")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(os.Stdout, flag.Arg(0), o); err != nil {
		fmt.Fprintln(os.Stderr, "evaluate:", err)
		os.Exit(2)
	}
}

type options struct {
	errors, slow bool
	write        string
}

// run evaluates and writes what was asked for.
func run(out io.Writer, folder string, o options) error {
	labels, err := readLabels(filepath.Join(folder, "labels.csv"))
	if err != nil {
		return err
	}
	r, err := newRunner(folder)
	if err != nil {
		return err
	}
	found, err := r.run(classify.DefaultThresholds())
	if err != nil {
		return err
	}
	pairs := match(labels, found)
	left, err := leaveOut(r, labels, pairs)
	if err != nil {
		return err
	}
	votes, err := behaviours(r, pairs)
	if err != nil {
		return err
	}
	disputes, err := readDisputes(disputedTable)
	if err != nil {
		return err
	}
	right, disputes, err := corrected(folder, pairs, disputes)
	if err != nil {
		return err
	}
	e := evaluation{pairs: pairs, corrected: right, disputes: disputes, left: left, votes: votes, calibration: calibrate(pairs), captures: len(r.names)}
	var page strings.Builder
	e.report(&page)
	if o.errors {
		listErrors(out, pairs)
	}
	if o.slow {
		listSlow(out, pairs)
	}
	if o.write == "" {
		_, err = io.WriteString(out, page.String())
		return err
	}
	if err := os.WriteFile(filepath.Join(o.write, "recognition-scores.md"), []byte(fmt.Sprintf(pageHead, time.Now().UTC().Format(time.DateOnly))+page.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.write, "recognition-reliability.svg"), []byte(e.calibration.plot()), 0o644)
}

// evaluation is all that was measured.
type evaluation struct {
	pairs       []pair
	left        leftOut
	calibration calibration
	votes       []vote
	captures    int
	corrected   []pair    // with the labels put right that the captures disprove
	disputes    []dispute // those labels
}
