package scanned

import (
	"fmt"
	"strings"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Gathered is a Writer that says a bomb once, with how many members it was about, however many an archive has.
type Gathered struct {
	Writer
	seen  map[string]*bomb
	order []*bomb
}

type bomb struct {
	first     scan.Problem
	container string
	count     int
}

// maxBombs bounds the bombs that are gathered; those beyond are said one by one.
const maxBombs = 10_000

// Gather returns a Writer that gathers bombs for w until Flush.
func Gather(w Writer) *Gathered {
	return &Gathered{Writer: w, seen: map[string]*bomb{}}
}

// Problem gathers bombs and passes all else on.
func (w *Gathered) Problem(p *scan.Problem) error {
	if p.Reason != event.ReasonBomb {
		return w.Writer.Problem(p)
	}
	container := ""
	if i := strings.LastIndex(p.Inside, "!/"); i >= 0 {
		container = p.Inside[:i]
	}
	key := p.Path + "\x00" + container
	if b := w.seen[key]; b != nil {
		b.count++
		return nil
	}
	if len(w.order) >= maxBombs {
		return w.Writer.Problem(p)
	}
	b := &bomb{first: *p, container: container, count: 1}
	w.seen[key], w.order = b, append(w.order, b)
	return nil
}

// Flush says what was gathered.
func (w *Gathered) Flush() error {
	for _, b := range w.order {
		p := b.first
		if b.count > 1 {
			p.Inside, p.Detail = b.container, strings.TrimPrefix(fmt.Sprintf("%s; %d members", p.Detail, b.count), "; ")
		}
		if err := w.Writer.Problem(&p); err != nil {
			return err
		}
	}
	w.seen, w.order = map[string]*bomb{}, nil
	return nil
}
