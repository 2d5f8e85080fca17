package archive

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// ErrNotFound says that no record, conversation, person or host has that name.
var ErrNotFound = errors.New("not in the archive")

// ErrCursor says that a cursor is none of the list that it was given for.
var ErrCursor = errors.New("the cursor is not one of this list")

// Records is what the archive needs of a driver to give records back.
type Records interface {
	// Record returns the record of an event.
	Record(ctx context.Context, id event.ID) (Record, error)
	// Referring returns the records that refer to an event, directly or through others, in the order of the journal.
	Referring(ctx context.Context, id event.ID) ([]Record, error)
	// Select yields the records of a filter, from the cursor on ("" for the first), each with the cursor after it.
	Select(ctx context.Context, f Filter, cursor string) iter.Seq2[Selected, error]
}

// Selected is a record and the cursor behind it.
type Selected struct {
	Record
	Cursor string
}

// Catalogue is what the archive needs of a driver to list conversations, people, hosts and messengers.
type Catalogue interface {
	// Conversations lists conversations, the latest first. Who, when not empty, is a handle, a person, a room name or an id.
	Conversations(ctx context.Context, who string, page Page) (Part[Conversation], error)
	// Conversation returns one conversation.
	Conversation(ctx context.Context, id string) (Conversation, error)
	// Handles lists handles: of a person, of that name or id, or all ("").
	Handles(ctx context.Context, who string) ([]Handle, error)
	// Hosts lists hosts: of a person, of that name, address or id, or all ("").
	Hosts(ctx context.Context, who string) ([]Host, error)
	// Sightings lists messengers seen, the latest first.
	Sightings(ctx context.Context, f SightingFilter) ([]Sighting, error)
}

// Counts is what the archive needs of a driver to answer what holds no content.
type Counts interface {
	// Verdicts counts records by day, kind and verdict in [from, to).
	Verdicts(ctx context.Context, from, to time.Time) ([]DayCount, error)
	// Captures returns the accounts of the days in [from, to).
	Captures(ctx context.Context, from, to time.Time) ([]Capture, error)
	// Apps sums the sightings by messenger, the latest first.
	Apps(ctx context.Context) ([]AppCount, error)
}
