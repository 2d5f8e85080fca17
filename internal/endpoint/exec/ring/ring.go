// Package ring is a log for code that must not wait: in the decision path of the execution control, where a full log pipe would hang every
// program of the machine. Lines go through a bounded queue; what does not fit is dropped and counted.
package ring

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// Ring takes what is to be logged without ever waiting. What does not fit is dropped and counted.
type Ring struct {
	lines   chan line
	dropped atomic.Int64
	quit    chan struct{}
}

type line struct {
	text string
	args []any
}

const ringSize = 256

// New returns a ring that writes to a log, which may be nil.
func New(log *slog.Logger) *Ring {
	r := &Ring{lines: make(chan line, ringSize), quit: make(chan struct{})}
	go r.write(log)
	return r
}

func (r *Ring) write(log *slog.Logger) {
	for {
		var l line
		select {
		case l = <-r.lines:
		case <-r.quit:
			return
		}
		if n := r.dropped.Swap(0); n > 0 {
			l.args = append(l.args, "dropped", n)
		}
		if log != nil {
			log.LogAttrs(context.Background(), slog.LevelWarn, l.text, attributes(l.args)...)
		}
	}
}

func attributes(args []any) []slog.Attr {
	var out []slog.Attr
	for i := 0; i+1 < len(args); i += 2 {
		out = append(out, slog.Any(args[i].(string), args[i+1])) //nolint:forcetypeassert // ours
	}
	return out
}

// Say queues one line with pairs of names and values.
func (r *Ring) Say(text string, args ...any) {
	select {
	case r.lines <- line{text, args}:
	default:
		r.dropped.Add(1)
	}
}

// Close does not wait for a log that is stuck.
func (r *Ring) Close() { close(r.quit) }
