// Package ring is a log for code that must not wait: in the decision path of the execution control, where a full log pipe would hang every
// program of the machine. Lines go through a bounded queue; what does not fit is dropped and counted.
package ring

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
)

const queue = 256

// Writer takes lines without ever waiting for what it writes to.
type Writer struct {
	lines   chan []byte
	dropped atomic.Int64
	quit    chan struct{}
}

// NewWriter returns a writer to w, which may be nil.
func NewWriter(w io.Writer) *Writer {
	r := &Writer{lines: make(chan []byte, queue), quit: make(chan struct{})}
	if w == nil {
		w = io.Discard
	}
	go r.run(w)
	return r
}

func (r *Writer) run(w io.Writer) {
	for {
		select {
		case line := <-r.lines:
			if n := r.dropped.Swap(0); n > 0 {
				line = fmt.Appendf(line, "(%d lines were dropped)\n", n)
			}
			_, _ = w.Write(line) // where a log cannot be written there is nowhere to say so
		case <-r.quit:
			return
		}
	}
}

// Write queues a copy of p.
func (r *Writer) Write(p []byte) (int, error) {
	select {
	case r.lines <- bytes.Clone(p):
	default:
		r.dropped.Add(1)
	}
	return len(p), nil
}

// Close does not wait for a log that is stuck.
func (r *Writer) Close() { close(r.quit) }
