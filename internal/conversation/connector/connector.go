// Package connector holds the one interface by which a conversation system is put in line: it turns what people send into events, asks for
// a judgement before anything is delivered, and carries the judgement out.
package connector

import (
	"context"
	"io"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Judge inspects, decides and records an event. When it returns nil the event is durable and its Verdict is set; when it returns an error
// the event is not recorded and must not be delivered.
type Judge interface {
	Judge(ctx context.Context, e *event.Event) error
	// JudgeFile does the same for an upload; body is read as often as inspectors need. On an allowing verdict the sealed object is durable too.
	JudgeFile(ctx context.Context, e *event.Event, body io.ReaderAt, size int64) error
	// Outcome records what became of an event that was let through (event.Delivery), without making anybody wait.
	Outcome(ctx context.Context, e *event.Event) error
}

// Connector is one gateway in front of one system. Run serves until the context ends and then drains; Ready is closed when it accepts
// clients.
type Connector interface {
	ID() string
	Run(ctx context.Context) error
	Ready() <-chan struct{}
}
