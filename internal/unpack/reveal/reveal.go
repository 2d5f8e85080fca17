// Package reveal tells what a file is and what it carries: it identifies the file and everything inside in the sandbox child.
//
// The parent side opens nothing but the file; all parsing, hashing and searching for tokens happens in one pass in the child.
package reveal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack"
)

// ParserName is the name of the parser in the child's list.
const ParserName = "reveal"

// maxItems bounds what one file may be said to carry.
const maxItems = 20000

// Item is a program or container that was found. Inside is "" for the file itself.
type Item struct {
	Inside   []byte           `json:"inside,omitempty"` // bytes: names need not be UTF-8
	Identity program.Identity `json:"identity"`
}

// Problem is something that could not be looked into.
type Problem struct {
	Inside []byte `json:"inside,omitempty"`
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// Report is what a file is and carries. The first item is the file itself, unless even that could not be told.
type Report struct {
	Items    []Item
	Problems []Problem
}

type answer struct {
	Item    *Item    `json:"item,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

type setup struct {
	Tokens []string      `json:"tokens"`
	Limits unpack.Limits `json:"limits"`
}

// Options are how a Revealer works. Zero values mean the defaults.
type Options struct {
	Tokens  []string      // looked for in executables and packages; items name them by index
	Limits  unpack.Limits //
	Workers int           // children at most
	Threads int           // of each; with two, large files are hashed and searched at the same time
	Timeout time.Duration // per file, before what its size adds
	Memory  uint64        // per child
	Log     *slog.Logger
}

// Revealer asks the sandbox. It is safe for concurrent use.
type Revealer struct{ pool *sandbox.Pool }

// New returns a Revealer. The binary's main must have given Parser to sandbox.Child.
func New(o Options) (*Revealer, error) {
	s, err := json.Marshal(setup{o.Tokens, o.Limits})
	if err != nil {
		return nil, fmt.Errorf("reveal: %w", err)
	}
	return &Revealer{sandbox.New(sandbox.Options{Workers: o.Workers, Threads: o.Threads, Timeout: o.Timeout, Memory: o.Memory, Setup: s, Log: o.Log})}, nil
}

// Status says how far the sandbox is confined.
func (r *Revealer) Status(ctx context.Context) (sandbox.Status, error) { return r.pool.Status(ctx) }

// Close ends the children.
func (r *Revealer) Close() error { return r.pool.Close() }

// Reveal looks into f. A crash, a timeout or spent memory is a problem in the report, beside what was found before; an error means that
// the sandbox itself does not work or the context ended.
func (r *Revealer) Reveal(ctx context.Context, f *os.File) (Report, error) {
	var report Report
	err := r.pool.Run(ctx, ParserName, f, nil, func(b []byte) error {
		var a answer
		if err := json.Unmarshal(b, &a); err != nil {
			return fmt.Errorf("reveal: answer: %w", err)
		}
		if len(report.Items)+len(report.Problems) >= maxItems {
			return errTooMany
		}
		if a.Item != nil {
			report.Items = append(report.Items, *a.Item)
		}
		if a.Problem != nil {
			report.Problems = append(report.Problems, *a.Problem)
		}
		return nil
	})
	var failed *sandbox.Failure
	switch {
	case errors.As(err, &failed):
		report.Problems = append(report.Problems, Problem{Inside: []byte(failed.At), Reason: failed.Reason, Detail: program.Text(failed.Detail)})
	case errors.Is(err, errTooMany):
		report.Problems = append(report.Problems, Problem{Reason: event.ReasonBomb, Detail: errTooMany.Error()})
	case err != nil:
		return report, err
	}
	return report, nil
}

var errTooMany = errors.New("reveal: too many items")
