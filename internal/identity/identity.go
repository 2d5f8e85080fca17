// Package identity says who is behind a handle, a host or an address at a moment, and gives handles, rooms and hosts their random ids.
package identity

import (
	"context"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Directory resolves names to people. A name it does not know stays unresolved: Person "" and no groups.
type Directory interface {
	// Party resolves a handle of a connector at a moment.
	Party(connector, handle string, at time.Time) event.Party
	// Host resolves a machine by name or address at a moment.
	Host(name, address string, at time.Time) event.Host
}

// Namer gives names their random ids, the same one each time, across restarts. The map is state outside the journal, so that erasing an
// entry makes the ids in headers say nothing.
type Namer interface {
	ID(ctx context.Context, kind NameKind, connector, name string) (string, error)
}

// NameKind is what a name names.
type NameKind string

// The kinds of names that have random ids.
const (
	HandleName NameKind = "handle"
	RoomName   NameKind = "room"
	HostName   NameKind = "host"
)
