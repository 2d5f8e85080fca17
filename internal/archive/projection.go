package archive

import (
	"context"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// Entry is one record as a projection sees it: where it stands, its header, and its event when the content could be unsealed (nil when it
// was erased or disposed of, or cannot be read).
type Entry struct {
	Position journal.Position
	Header   event.Header
	Event    *event.Event
	KeyLost  bool // the content is there, and its key is not: nothing was destroyed, and a copy of the key makes it readable again
}

// Projection is a view derived from the journal. Apply is called in journal order and is idempotent: entries at or before Position are
// skipped. A projection can be deleted and rebuilt at any time.
type Projection interface {
	Apply(ctx context.Context, entries []Entry) error
	Position(ctx context.Context, stream string) (journal.Position, error)
	Reset(ctx context.Context) error
}

// Renewer is a projection that can be built anew beside the one that is in use, which is replaced when the new one is whole.
type Renewer interface {
	// Renew calls fill with an empty projection, and takes its place when fill and what follows works. Else nothing changes.
	Renew(ctx context.Context, fill func(fresh Projection) error) error
}
