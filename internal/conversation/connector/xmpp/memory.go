package xmpp

import (
	"hash/maphash"
	"strings"
	"sync"

	"github.com/chaperone-im/chaperone/internal/event"
)

// sightKey names a message: who said it to whom under which id, hashed under two random seeds.
type sightKey [2]uint64

// sight is the first sight of a message.
type sight struct {
	text  uint64        // hash of what it says
	done  chan struct{} // closed when judged; nil when it was from the start
	event event.ID
	stop  bool
}

// memory holds first sights, so that copies need no second judgement. It is bounded: two generations, of which the older is forgotten when
// the younger is full.
type memory struct {
	mu       sync.Mutex
	young    map[sightKey]*sight
	old      map[sightKey]*sight
	size     int
	seeds    [2]maphash.Seed
	textSeed maphash.Seed
}

func newMemory(size int) *memory {
	return &memory{
		young: map[sightKey]*sight{}, old: map[sightKey]*sight{}, size: size,
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, textSeed: maphash.MakeSeed(),
	}
}

// key returns the key of a message. One without an id is known by its text.
func (m *memory) key(from, to, id, text string) sightKey {
	if id == "" {
		id = "\x00" + lineEnds(text)
	}
	s := from + "\x00" + to + "\x00" + id
	return sightKey{maphash.String(m.seeds[0], s), maphash.String(m.seeds[1], s)}
}

func (m *memory) hash(text string) uint64 { return maphash.String(m.textSeed, lineEnds(text)) }

// lineEnds makes all line ends one: servers write them as they like.
func lineEnds(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// put notes a message that was judged.
func (m *memory) put(k sightKey, text uint64, id event.ID, stop bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(k, &sight{text: text, event: id, stop: stop})
}

func (m *memory) set(k sightKey, s *sight) {
	if len(m.young) >= m.size {
		m.old, m.young = m.young, make(map[sightKey]*sight, m.size/4)
	}
	m.young[k] = s
}

func (m *memory) find(k sightKey) *sight {
	if s := m.young[k]; s != nil {
		return s
	}
	return m.old[k]
}

// claim returns the first sight of a message and whether it is the caller's to judge. Who claims must call settle.
func (m *memory) claim(k sightKey, text uint64) (s *sight, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.find(k); s != nil && s.text == text {
		return s, false
	}
	s = &sight{text: text, done: make(chan struct{})}
	m.set(k, s)
	return s, true
}

// settle notes the judgement of a claimed message; one that could not be judged is forgotten, so that it may be tried again.
func (m *memory) settle(k sightKey, s *sight, id event.ID, stop, judged bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.event, s.stop = id, stop
	if !judged {
		delete(m.young, k)
		delete(m.old, k)
	}
	close(s.done)
}

// lookup returns the event of a message, "" when it is not known.
func (m *memory) lookup(k sightKey) event.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.find(k); s != nil {
		return s.event
	}
	return ""
}

// rooms knows who is in which room, from what the sessions see.
type rooms struct {
	mu    sync.Mutex
	rooms map[string]map[string]string // room → nick → bare JID, "" when hidden
	total int
}

const maxOccupants = 200_000

func (r *rooms) enter(room, nick, bare string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.rooms[room]
	if in == nil {
		in = map[string]string{}
		r.rooms[room] = in
	}
	old, known := in[nick]
	if !known {
		if r.total >= maxOccupants {
			return
		}
		r.total++
	}
	if bare == "" {
		bare = old
	}
	in[nick] = bare
}

func (r *rooms) leave(room, nick string) {
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

// handle returns the JID behind a nick, or the occupant's JID when it is hidden.
func (r *rooms) handle(room, nick string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if bare := r.rooms[room][nick]; bare != "" {
		return bare
	}
	return room + "/" + nick
}

const maxAudience = 1000

// audience returns the handles of those in a room, at most maxAudience.
func (r *rooms) audience(room string) []event.Party {
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
