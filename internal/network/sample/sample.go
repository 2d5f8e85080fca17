// Package sample replays the samples of a catalog: captures of which it is known what must be recognised in them, and what must not. A
// catalog that does not recognise its own samples is not taken into use.
//
// Each capture is read with a memory of its own. Three things are wrong: a flow that its label, or a signature that names the capture,
// expects and that is not there with the app, the service, the strength and the fact; a flow that is taken for a messenger of which the
// label does not speak; a signature that asks for a decoder or a value that this program does not have.
package sample

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// Result says what replaying the captures of a catalog showed.
type Result struct {
	Captures int // replayed
	Absent   int // of the corpus, which is not here
	Flows    int // recognised as expected
	Problems []catalog.Problem
}

// Replay reads every capture that the catalog's samples and signatures name, and says what was not recognised as stated. Captures of the
// corpus are looked for in the folder; an empty one is none.
func Replay(ctx context.Context, c *catalog.Catalog, s *catalog.Samples, corpus string) (Result, error) {
	r := replay{ctx: ctx, catalog: c, samples: s, corpus: corpus}
	r.decoders()
	for _, x := range c.Expected(s) {
		if err := ctx.Err(); err != nil {
			return r.Result, err
		}
		r.sample(&x)
	}
	return r.Result, nil
}

type replay struct {
	Result
	ctx     context.Context
	catalog *catalog.Catalog
	samples *catalog.Samples
	corpus  string
}

func (r *replay) wrong(file, app, format string, args ...any) {
	r.Problems = append(r.Problems, catalog.Problem{File: file, App: app, Message: fmt.Sprintf(format, args...)})
}

// decoders checks that every signature asks for what there is.
func (r *replay) decoders() {
	values := map[string][]string{}
	for _, d := range decode.Decoders() {
		values[d.Name] = append(d.Values, "port", "address")
	}
	for _, s := range r.catalog.Traffic() {
		known, ok := values[s.Decoder]
		if !ok {
			r.wrong(s.App+".yaml", s.App, "traffic:%s asks for the decoder %q, which this program does not have", s.ID, s.Decoder)
			continue
		}
		for key := range s.Match {
			if !slices.Contains(known, key) {
				r.wrong(s.App+".yaml", s.App, "traffic:%s asks decoder %s for %q, which it does not tell", s.ID, s.Decoder, key)
			}
		}
	}
}

func (r *replay) sample(x *catalog.Sample) {
	name, b, err := r.read(x)
	switch {
	case errors.Is(err, fs.ErrNotExist) && name != x.Path():
		r.Absent++
		return
	case err != nil:
		r.wrong(x.Path(), x.App, "%v", err)
		return
	}
	findings, err := Flows(r.ctx, r.catalog, name, b)
	if err != nil {
		r.wrong(name, x.App, "%v", err)
		return
	}
	r.Captures++
	r.expected(name, x, findings)
	if _, ok := x.Corpus(); !ok && x.Made != "" {
		r.strangers(name, x, findings)
	}
}

// read returns the bytes of a capture; of the corpus its name is another than its path, and it may be absent.
func (r *replay) read(x *catalog.Sample) (name string, b []byte, err error) {
	file, ok := x.Corpus()
	if !ok {
		b, err = r.samples.Read(x)
		return x.Path(), b, err
	}
	if r.corpus == "" || file != filepath.Base(file) {
		return file, nil, fs.ErrNotExist
	}
	b, err = os.ReadFile(filepath.Join(r.corpus, file))
	return file, b, err
}

func (r *replay) expected(name string, x *catalog.Sample, findings []classify.Finding) {
	for i := range x.Flows {
		want := &x.Flows[i]
		n := 0
		for j := range findings {
			if want.Holds(x.App, &findings[j].Flow, findings[j].Evidence) {
				n++
			}
		}
		if n < max(want.Count, 1) {
			r.wrong(name, x.App, "%d flows are recognised as %s, must be %d at least", n, want, max(want.Count, 1))
			continue
		}
		r.Flows += n
	}
}

// strangers says which flows are taken for a messenger that the label does not speak of.
func (r *replay) strangers(name string, x *catalog.Sample, findings []classify.Finding) {
	allowed := append([]string{x.App}, x.Also...)
	for i := range x.Flows {
		allowed = append(allowed, x.Flows[i].App)
	}
	for _, f := range findings {
		if f.Flow.App != "" && (x.App == catalog.Innocent || !slices.Contains(allowed, f.Flow.App)) {
			r.wrong(name, f.Flow.App, "%s %s to %s is taken for %s by %s", f.Flow.Proto, f.Flow.Client, f.Flow.Server, f.Flow.App, f.Evidence[0].Fact)
		}
	}
}

// Flows returns what a catalog makes of the flows of one capture.
func Flows(ctx context.Context, c *catalog.Catalog, name string, capture []byte) ([]classify.Finding, error) {
	var out []classify.Finding
	k := classify.New(c, classify.Options{Capture: name, Report: func(f *classify.Finding) {
		kept := *f
		kept.Evidence = slices.Clone(f.Evidence)
		out = append(out, kept)
	}})
	_, err := flow.ReadCapture(ctx, bytes.NewReader(capture), flow.NewTracker(k, flow.Limits{}))
	return out, err
}
