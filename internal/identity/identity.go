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

// Members is a Directory that knows which groups people are in.
type Members interface {
	// Groups returns the groups of a person, and whether there is that person at all.
	Groups(person string) (groups []string, known bool)
}

// GroupsOf returns the groups that a directory gives a person; none where it knows nothing of groups.
func GroupsOf(d Directory, person string) []string {
	m, ok := d.(Members)
	if !ok || person == "" {
		return nil
	}
	groups, _ := m.Groups(person)
	return groups
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
