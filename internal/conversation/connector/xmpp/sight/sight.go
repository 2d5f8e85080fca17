// Package sight remembers which messages a gateway has judged, so that their copies need no second judgement. It is bounded, and forgets the
// oldest first; what is asked for by two sessions at a time is judged by the first of them.
package sight

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Key names a message: who said it to whom under which id, hashed under two random seeds.
type Key [2]uint64

// Judged is what became of a message.
type Judged struct {
	Event   event.ID // its record, "" when it could not be recorded
	Refused string   // the words of its refusal, "" when it passed
}

// Sight is the first sight of a message.
type Sight struct {
	text   uint64        // hash of what it says
	done   chan struct{} // closed when judged; nil when it was from the start
	judged Judged
}

// Wait returns what became of a message as soon as it is known.
func (s *Sight) Wait(ctx context.Context) (Judged, error) {
	if s.done != nil {
		select {
		case <-s.done:
		case <-ctx.Done():
			return Judged{}, ctx.Err()
		}
	}
	return s.judged, nil
}

// Memory holds first sights in two generations, of which the older is forgotten when the younger is full.
type Memory struct {
	mu       sync.Mutex
	young    map[Key]*Sight
	old      map[Key]*Sight
	size     int
	seeds    [2]maphash.Seed
	textSeed maphash.Seed
}

// New returns a memory of twice size messages at most.
func New(size int) *Memory {
	return &Memory{
		young: map[Key]*Sight{}, old: map[Key]*Sight{}, size: size,
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, textSeed: maphash.MakeSeed(),
	}
}

// Key returns the key of a message. One without an id is known by its text.
func (m *Memory) Key(from, to, id, text string) Key {
	if id == "" {
		id = "\x00" + lineEnds(text)
	}
	s := from + "\x00" + to + "\x00" + id
	return Key{maphash.String(m.seeds[0], s), maphash.String(m.seeds[1], s)}
}

func (m *Memory) hash(text string) uint64 { return maphash.String(m.textSeed, lineEnds(text)) }

// lineEnds makes all line ends one: servers write them as they like.
func lineEnds(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// Put notes a message that was judged.
func (m *Memory) Put(k Key, text string, j Judged) {
	s := &Sight{text: m.hash(text), judged: j}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(k, s)
}

func (m *Memory) set(k Key, s *Sight) {
	if len(m.young) >= m.size {
		m.old, m.young = m.young, make(map[Key]*Sight, m.size/4)
	}
	m.young[k] = s
}

func (m *Memory) find(k Key) *Sight {
	if s := m.young[k]; s != nil {
		return s
	}
	return m.old[k]
}

// Claim returns the first sight of a message and whether it is the caller's to judge. Who claims must call Settle. The same key with another
// text is another message.
func (m *Memory) Claim(k Key, text string) (s *Sight, first bool) {
	hash := m.hash(text)
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.find(k); s != nil && s.text == hash {
		return s, false
	}
	s = &Sight{text: hash, done: make(chan struct{})}
	m.set(k, s)
	return s, true
}

// Settle notes the judgement of a claimed message; one without a record is forgotten, so that it may be tried again.
func (m *Memory) Settle(k Key, s *Sight, j Judged) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.judged = j
	if j.Event == "" {
		for _, of := range []map[Key]*Sight{m.young, m.old} {
			if of[k] == s {
				delete(of, k)
			}
		}
	}
	close(s.done)
}

// Lookup returns the event of a message, "" when it is not known or not judged yet.
func (m *Memory) Lookup(k Key) event.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.find(k); s != nil {
		return s.judged.Event
	}
	return ""
}
