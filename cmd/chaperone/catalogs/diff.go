package catalogs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

type diffCmd struct {
	command.DataFlags
	command.SignFlags
	JSON     bool     `name:"json" help:"One JSON object per flow that differs."`
	Policy   string   `name:"policy" type:"path" placeholder:"FILE" help:"Policy to decide by; that of the configuration, else the quickstart policy."`
	Old      string   `name:"old" type:"path" placeholder:"DIR" help:"Catalog to compare with, a folder or a bundle; what is in force by default."`
	Trust    []string `name:"trust" placeholder:"VERIFIER" help:"Verifier of a key that may have signed a bundle, besides those of the configuration; not for --record."`
	Record   bool     `name:"record" help:"Decide what is on record anew too; needs a bundle signed by a key of catalog.keys in the configuration, and an account that reads."`
	Query    string   `name:"query" placeholder:"QUERY" help:"With --record: which records, as in chaperone search."`
	New      string   `arg:"" type:"path" help:"The other catalog: a folder or a bundle."`
	Captures []string `arg:"" optional:"" name:"capture" type:"path" help:"Captures to compare on, besides the samples of both catalogs and the built-in ones."`
}

// maxDiffCapture bounds the captures that are compared on: they are held in memory.
const maxDiffCapture = 1 << 30

// Run compares; what would newly be stopped makes the exit status 1.
func (cmd *diffCmd) Run(e *command.Env) error {
	d, err := cmd.prepare(e)
	if err != nil {
		return err
	}
	d.e, d.json = e, cmd.JSON
	for _, s := range d.samples {
		for i := range s.Captures {
			x := &s.Captures[i]
			if b, err := s.Read(x); err == nil && !d.seen[x.Path()] {
				d.seen[x.Path()] = true
				if err := d.capture(x.Path(), b); err != nil {
					return err
				}
			}
		}
	}
	for _, path := range cmd.Captures {
		b, err := outside.ReadFile(path, maxDiffCapture)
		if err != nil {
			return err
		}
		if err := d.capture(filepath.Base(path), b); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if !cmd.JSON {
		fmt.Fprintf(e.Out, "%d flows of %d captures: %d newly stopped, %d newly passed, %d of another messenger\n", d.flows, d.captures, d.stopped, d.passed, d.renamed)
	}
	if cmd.Record {
		if err := cmd.record(e, d); err != nil {
			return err
		}
	}
	if d.stopped > 0 {
		return command.ErrFindings
	}
	return nil
}

// comparison is one run of catalog diff.
type comparison struct {
	e                        *command.Env
	json                     bool
	before, after            *rollout.Side
	samples                  []*catalog.Samples // of both catalogs, and the built-in ones
	seen                     map[string]bool
	flows, captures          int
	stopped, passed, renamed int
	observed                 int64
	summary                  server.Replayed
}

// recorded reads the answer of catalog.diff: lines about observations, and those of a dry run.
func (d *comparison) recorded(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var o rollout.ObservedDiffers
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		if d.json && o.Observed == 0 {
			if _, err := fmt.Fprintf(d.e.Out, "%s\n", lines.Bytes()); err != nil {
				return err
			}
		}
		switch {
		case o.Type == "summary":
			if err := json.Unmarshal(lines.Bytes(), &d.summary); err != nil {
				return err
			}
		case o.Type != "observation":
		case o.Before == "":
			d.observed = o.Observed
		default:
			what := "newly passed"
			if o.Stops {
				what = "newly stopped"
				d.stopped++
			}
			if !d.json {
				fmt.Fprintln(d.e.Out, printable.Line(fmt.Sprintf("%s: %s %s %s: %s by %s, was %s; %d times", what, o.Kind, o.Name, o.Server, o.After, o.Rule, o.Before, o.Times)))
			}
		}
	}
	return lines.Err()
}

func (cmd *diffCmd) prepare(e *command.Env) (*comparison, error) {
	d := &comparison{seen: map[string]bool{}}
	var trusted []string
	if cmd.Data != "" || cmd.Config != "" {
		cfg, err := cmd.Load()
		if err != nil {
			return nil, err
		}
		trusted = cfg.Catalog.Keys
	}
	if cmd.Record { // by --trust nobody's record is decided anew: that is for the configuration to say
		b, err := outside.ReadFile(cmd.New, bundle.MaxSize)
		if err == nil {
			_, _, err = bundle.Open(b, trusted)
		}
		if err != nil {
			return nil, untrustedHint(fmt.Errorf("--record: %s: %w", cmd.New, err))
		}
	}
	trusted = append(slices.Clone(cmd.Trust), trusted...)
	file, err := cmd.PolicyFile(e, cmd.Policy)
	if err != nil {
		return nil, err
	}
	after, samples, err := catalogFrom(cmd.New, trusted)
	if err != nil {
		return nil, err
	}
	_, own, err := catalogFrom("", nil)
	if err != nil {
		return nil, err
	}
	d.samples = []*catalog.Samples{samples, own}
	before, err := cmd.CatalogInForce()
	if err == nil && cmd.Old != "" {
		before, samples, err = catalogFrom(cmd.Old, trusted)
		d.samples = append(d.samples, samples)
	}
	if err != nil {
		return nil, err
	}
	for _, x := range []struct {
		c    *catalog.Catalog
		side **rollout.Side
	}{{before, &d.before}, {after, &d.after}} {
		set, err := rules.Load(file, x.c)
		if err != nil {
			return nil, command.RulesHint(err)
		}
		*x.side = &rollout.Side{Set: set}
	}
	return d, nil
}

func (d *comparison) capture(name string, b []byte) error {
	differences, flows, err := rollout.Diff(d.e.Ctx, d.before, d.after, name, b)
	d.flows, d.captures = d.flows+flows, d.captures+1
	for i := range differences {
		x := &differences[i]
		what := "of another messenger"
		switch {
		case x.Stops:
			d.stopped++
			what = "newly stopped"
		case x.Passes:
			d.passed++
			what = "newly passed"
		default:
			d.renamed++
		}
		if d.json {
			if err := json.NewEncoder(d.e.Out).Encode(x); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintln(d.e.Out, printable.Line(fmt.Sprintf("%s: %s %s → %s: %s: %s by %s, was %s by %s", x.Capture, x.Proto, x.Client, x.Server, what,
			rollout.Answer{App: x.After.App, Action: x.After.Verdict}, x.After.Rule, rollout.Answer{App: x.Before.App, Action: x.Before.Verdict}, x.Before.Rule)))
	}
	return err
}

// record decides what is on record anew, where the process that holds it runs.
func (cmd *diffCmd) record(e *command.Env, d *comparison) error {
	b, err := outside.ReadFile(cmd.New, bundle.MaxSize)
	if err != nil {
		return err
	}
	s, err := cmd.Sign(e)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	read := make(chan error, 1)
	go func() {
		err := d.recorded(r)
		r.CloseWithError(err)
		read <- err
	}()
	err = command.Operate(e, &cmd.DataFlags, "catalog.diff", server.ReplayArgs{Sign: s, Query: cmd.Query}, bytes.NewReader(b), w)
	w.Close()
	if err = command.ReadingHint(errors.Join(err, <-read)); err != nil {
		return err
	}
	sum := d.summary
	for change, n := range sum.Changes {
		if change == "allow to block" || change == "allow to quarantine" || change == "allow to hold" {
			d.stopped += n
		}
	}
	if !cmd.JSON {
		fmt.Fprintf(e.Out, "%d observations were looked at; %d of %d verdicts on record would be the same\n", d.observed, sum.Same, sum.Records)
		command.PrintChanges(e.Out, sum)
	}
	return nil
}
