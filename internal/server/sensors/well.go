package sensors

import (
	"context"
	"fmt"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/logfile"
)

// well says on the board how the reading of a log goes.
type well struct {
	d       Deps
	name    string // of the health item
	trouble int
	first   error
	failing bool
}

// Name is that of the health item.
func (w *well) Name() string { return w.name }

func (w *well) report(err error, lines int64) {
	switch {
	case err != nil:
		if !w.failing {
			w.d.Log.Error("log", "item", w.name, "error", err)
		}
		w.d.Board.Set(w.name, health.Failed, "nothing is read: "+err.Error(), "The file must be there and readable for this user. It is tried again every few seconds, and nothing of it is left out.")
	case w.trouble > 0:
		w.d.Board.Set(w.name, health.Degraded, fmt.Sprintf("%d lines were read since the start, %d of them could not be understood; the first at %v", lines, w.trouble, w.first), "Is it the right format?")
	default:
		w.d.Board.Set(w.name, health.OK, fmt.Sprintf("%d lines were read since the start", lines), "")
	}
	w.failing = err != nil
}

// add counts what could not be read.
func (w *well) add(t logfile.Trouble) {
	if w.trouble == 0 {
		w.first = t.First
	}
	w.trouble += t.Lines
}

// gap is the record of lines that may be missing.
func (w *well) gap(connector, lost string) *event.Event {
	now := w.d.Clock.Now()
	return &event.Event{ID: event.NewID(), Kind: event.Gap, Time: now, Until: now, Received: now, Connector: connector, Reason: event.ReasonUnreadable,
		Content: event.Content{Explanation: w.name + ": " + lost}}
}

// record makes what was read of a log durable, with the gap where lines were lost.
func (w *well) record(ctx context.Context, connector string, events []*event.Event, lost string) error {
	if lost != "" {
		events = append(events, w.gap(connector, lost))
	}
	if len(events) == 0 {
		return nil
	}
	if err := w.d.Recorder.Record(ctx, events...); err != nil {
		return fmt.Errorf("record what the log says: %w", err)
	}
	return nil
}
