package main

import (
	"fmt"
	"strings"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
)

// bombWriter is a scanWriter that says a bomb once, with how many members it was about, however many an archive has.
type bombWriter struct {
	scanWriter
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

func newBombWriter(w scanWriter) *bombWriter {
	return &bombWriter{scanWriter: w, seen: map[string]*bomb{}}
}

func (w *bombWriter) problem(p *scan.Problem) error {
	if p.Reason != event.ReasonBomb {
		return w.scanWriter.problem(p)
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
		return w.scanWriter.problem(p)
	}
	b := &bomb{first: *p, container: container, count: 1}
	w.seen[key], w.order = b, append(w.order, b)
	return nil
}

// flush says what was gathered.
func (w *bombWriter) flush() error {
	for _, b := range w.order {
		p := b.first
		if b.count > 1 {
			p.Inside, p.Detail = b.container, strings.TrimPrefix(fmt.Sprintf("%s; %d members", p.Detail, b.count), "; ")
		}
		if err := w.scanWriter.problem(&p); err != nil {
			return err
		}
	}
	w.seen, w.order = map[string]*bomb{}, nil
	return nil
}
