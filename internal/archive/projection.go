package archive

import (
	"context"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// Entry is one record as a projection sees it: where it stands, its header, and its event when the content could be unsealed (nil when it
// was erased or disposed of).
type Entry struct {
	Position journal.Position
	Header   event.Header
	Event    *event.Event
}

// Projection is a view derived from the journal. Apply is called in journal order and is idempotent: entries at or before Position are
// skipped. A projection can be deleted and rebuilt at any time.
type Projection interface {
	Apply(ctx context.Context, entries []Entry) error
	Position(ctx context.Context, stream string) (journal.Position, error)
	Reset(ctx context.Context) error
}
