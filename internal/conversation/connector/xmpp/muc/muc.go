// Package muc knows who is in which room (XEP-0045), from what the sessions of a gateway see. It is bounded.
package muc

import (
	"sync"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Rooms is the occupants of all rooms. The zero value has none.
type Rooms struct {
	mu    sync.Mutex
	rooms map[string]map[string]string // room → nick → bare JID, "" when hidden
	total int
}

const maxOccupants = 200_000

// Enter notes that somebody is in a room; bare is "" when the room hides who it is. Beyond the bound nobody is noted.
func (r *Rooms) Enter(room, nick, bare string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.rooms[room][nick]
	switch {
	case !known && r.total >= maxOccupants:
		return
	case !known:
		r.total++
	case bare == "":
		bare = old
	}
	if r.rooms == nil {
		r.rooms = map[string]map[string]string{}
	}
	if r.rooms[room] == nil {
		r.rooms[room] = map[string]string{}
	}
	r.rooms[room][nick] = bare
}

// Leave notes that somebody is no longer in a room.
func (r *Rooms) Leave(room, nick string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.rooms[room][nick]; !known {
		return
	}
	delete(r.rooms[room], nick)
	r.total--
	if len(r.rooms[room]) == 0 {
		delete(r.rooms, room)
	}
}

// Handle returns the JID behind a nick, or the occupant's JID when it is hidden.
func (r *Rooms) Handle(room, nick string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if bare := r.rooms[room][nick]; bare != "" {
		return bare
	}
	return room + "/" + nick
}

const maxAudience = 1000

// Audience returns the handles of those in a room, at most 1,000.
func (r *Rooms) Audience(room string) []event.Party {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]event.Party, 0, min(len(r.rooms[room]), maxAudience))
	for nick, bare := range r.rooms[room] {
		if len(out) == maxAudience {
			break
		}
		if bare == "" {
			bare = room + "/" + nick
		}
		out = append(out, event.Party{Handle: bare})
	}
	return out
}
