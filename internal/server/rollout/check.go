// Package rollout takes new catalogs into use, and back out of it: it checks a catalog before anything relies on it, stages a signed bundle
// (shadow, a canary group, all), compares what it would stop with what is stopped, and goes back when it stops what it must not.
package rollout

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	programs "github.com/chaperone-im/chaperone/internal/endpoint/sample"
	captures "github.com/chaperone-im/chaperone/internal/network/sample"
)

// Checked is a catalog with what checking it showed.
type Checked struct {
	Catalog  *catalog.Catalog
	Samples  *catalog.Samples
	Problems []catalog.Problem
	Captures int // replayed
	Absent   int // captures of the corpus that are not here
	Programs int // replayed
}

// Failed returns the problems that are no warnings.
func (c *Checked) Failed() []catalog.Problem {
	var out []catalog.Problem
	for _, p := range c.Problems {
		if !p.Warning {
			out = append(out, p)
		}
	}
	return out
}

// Check loads a catalog from its files, lints it, looks every fact up and replays every sample. Captures of the corpus are looked for in
// the folder corpus; empty is none. An error means that it cannot be loaded or checked at all.
func Check(ctx context.Context, files fs.FS, corpus string, now time.Time) (*Checked, error) {
	c, err := catalog.Load(files)
	if err != nil {
		return nil, err
	}
	s, err := catalog.LoadSamples(files)
	if err != nil {
		return nil, err
	}
	out := &Checked{Catalog: c, Samples: s, Problems: append(c.Lint(), c.SelfTest()...)}
	out.Problems = append(out.Problems, c.LintSamples(s, now)...)
	replayed, err := captures.Replay(ctx, c, s, corpus)
	if err != nil {
		return nil, err
	}
	identified, problems, err := programs.Replay(ctx, c, s)
	if err != nil {
		return nil, err
	}
	out.Captures, out.Absent, out.Programs = replayed.Captures, replayed.Absent, identified
	out.Problems = append(append(out.Problems, replayed.Problems...), problems...)
	return out, nil
}

// ErrFailsItsTest says that a catalog fails its own test.
var ErrFailsItsTest = errors.New("the catalog fails its own test")
