// Command mutate gives damaged files to every parser of bytes from outside that the scanner reaches: a million to each, unless told otherwise.
//
//	go run ./bench/mutate [-n COUNT] [-door COUNT] [-seed NUMBER] [-parsers A,B] [-samples DIR,...] [-dir DIR] [-json]
//	go run ./bench/mutate -replay FILE -parsers NAME
//
// The files are real ones: made by real tools where they are installed, written here, or found in folders of samples. They are changed at
// random: bits, numbers at the places where a format has numbers, stretches doubled, moved, cut out and taken from other files; then checksums
// are made right again, so that what lies behind them is read. Each input depends only on the seeds, the seed number, which is printed, and its
// index. A worker, limited as the scanner's child is, reads them one after another: a panic, more than 2 s of the processor, more than 256 MiB
// alive and a death are findings, and their inputs are kept. A part of them then goes through the scanner's own door and its child, which must
// answer each. What is done is remembered in DIR: started again, it goes on. It ends with 1 when there are findings.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

var errFindings = errors.New("there are findings")

func main() {
	sandbox.Child(os.Args, []sandbox.Parser{reveal.Parser()})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
	}
	switch {
	case errors.Is(err, errFindings):
		os.Exit(1) //nolint:gocritic // nothing is left to be undone
	case err != nil:
		os.Exit(2)
	}
}

// options are those of the command line.
type options struct {
	count, door, number uint64
	parsers, samples    []string
	dir, replay         string
	json                bool
}

func readOptions(words []string, said io.Writer) (*options, error) {
	o := &options{}
	var names, samples string
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	flags.SetOutput(said)
	flags.Uint64Var(&o.count, "n", 1_000_000, "mutations of each parser")
	flags.Uint64Var(&o.door, "door", 20_000, "how many of them go through the scanner and its child")
	flags.Uint64Var(&o.number, "seed", 0, "seed number; 0: one at random")
	flags.StringVar(&names, "parsers", "", "names of parsers, joined by commas; all when empty")
	flags.StringVar(&samples, "samples", "", "folders of more files to begin with, joined by commas")
	flags.StringVar(&o.dir, "dir", "", "where seeds, state and findings are kept; a new folder when empty")
	flags.StringVar(&o.replay, "replay", "", "read this file by the parser that is named, and nothing else")
	flags.BoolVar(&o.json, "json", false, "one line of JSON for each parser")
	if err := flags.Parse(words); err != nil {
		return nil, err
	}
	if samples != "" {
		o.samples = strings.Split(samples, ",")
	}
	for _, p := range parsers() {
		o.parsers = append(o.parsers, p.name)
	}
	if names != "" {
		all := o.parsers
		o.parsers = strings.Split(names, ",")
		for _, n := range o.parsers {
			if !slices.Contains(all, n) {
				return nil, fmt.Errorf("no parser %q; there are %s", n, strings.Join(all, ", "))
			}
		}
	}
	if o.number == 0 {
		o.number = rand.Uint64N(1 << 32)
	}
	return o, nil
}

func run(ctx context.Context, words []string, out, said io.Writer) error {
	if len(words) == 7 && words[0] == "worker" {
		if err := confine(); err != nil {
			return err
		}
		return work(words[1:], out, parserNamed)
	}
	o, err := readOptions(words, said)
	if err != nil {
		return err
	}
	if o.replay != "" {
		return replay(o, out)
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "mutate-"); err != nil {
			return err
		}
	}
	missing, err := gather(filepath.Join(o.dir, "seeds"), o.samples)
	if err != nil {
		return err
	}
	for _, m := range missing {
		fmt.Fprintln(said, "no seed:", m)
	}
	fmt.Fprintf(said, "seed %d, in %s\n", o.number, o.dir)
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	return o.all(ctx, binary, out, said)
}

// all takes one parser after another.
func (o *options) all(ctx context.Context, binary string, out, said io.Writer) error {
	d, err := openDoor(maxTime)
	if err != nil {
		return err
	}
	defer d.close()
	var results []*Result
	findings := 0
	for i, name := range o.parsers {
		r, err := o.one(ctx, d, name, fmt.Sprintf("%d/%d %s", i+1, len(o.parsers), name), binary, said)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		results = append(results, r)
		findings += r.faults()
		if ctx.Err() != nil {
			break
		}
	}
	if err := printResults(out, results, o.json); err != nil {
		return err
	}
	if findings > 0 {
		return errFindings
	}
	return ctx.Err()
}

// one takes one parser.
func (o *options) one(ctx context.Context, d *door, name, label, binary string, said io.Writer) (*Result, error) {
	begun, told := time.Now(), time.Now()
	s := &supervisor{dir: o.dir, count: o.count, words: []string{binary}}
	r, err := s.load(name, o.number)
	if err != nil {
		return nil, err
	}
	from := r.Next
	s.progress = func(r *Result) {
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			fmt.Fprintf(said, "%s: %d of %d, %d through the scanner, %d findings, %s left\n", label, r.Next, o.count, r.DoorDone, r.faults(), r.left(o.count, time.Since(begun), from))
		}
	}
	seeds, err := seedsOf(filepath.Join(o.dir, "seeds"), name)
	if errors.Is(err, errNoSeeds) {
		fmt.Fprintf(said, "%s: %v\n", label, err)
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	r.Seeds = len(seeds)
	if err := s.run(ctx, r); err != nil {
		return nil, err
	}
	if p, _ := parserNamed(name); p.door && ctx.Err() == nil {
		if err := s.knock(ctx, d, r, min(o.door, o.count)); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(said, "%s: %d done, %s read whole, %d findings, %s\n", label, r.Tally.Done, share(r.Tally.Clean, r.Tally.Done), r.faults(), time.Since(begun).Round(time.Second))
	return r, nil
}

// work is what a worker does: NAME SEEDS NUMBER FROM TO CURRENT.
func work(words []string, out io.Writer, named func(string) (parser, bool)) error {
	p, ok := named(words[0])
	if !ok {
		return fmt.Errorf("no parser %q", words[0])
	}
	seeds, err := seedsOf(words[1], p.name)
	if err != nil {
		return err
	}
	var n [3]uint64
	for i := range n {
		if n[i], err = strconv.ParseUint(words[2+i], 10, 64); err != nil {
			return err
		}
	}
	w, err := newWorker(p, seeds, n[0], words[5], out)
	if err != nil {
		return err
	}
	return w.run(n[1], n[2])
}

// replay reads one file by one parser, and lets a panic be seen.
func replay(o *options, out io.Writer) error {
	b, err := os.ReadFile(o.replay)
	if err != nil {
		return err
	}
	for _, name := range o.parsers {
		p, _ := parserNamed(name)
		begun := cpu()
		got := p.read(b)
		fmt.Fprintf(out, "%s: whole %t, caught %q, %s\n", name, got.clean, got.caught, cpu()-begun)
	}
	return nil
}
