package agent

import (
	"strconv"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
)

const (
	again   = time.Minute // how long the same stop of the same person is one
	maxSeen = 4096
)

// seen joins stops that are the same: somebody who tries a hundred times, or a program that does so a thousand times a second, is one record a
// minute, which says how many there were before it.
type seen struct {
	mu   sync.Mutex
	last map[string]*repeated
}

type repeated struct {
	since time.Time
	more  int
}

func newSeen() *seen { return &seen{last: map[string]*repeated{}} }

func (s *seen) first(stop *judge.Stop) bool {
	p := stop.Event.Program
	key := strconv.FormatUint(uint64(stop.UID), 10) + "\x00" + p.SHA256 + "\x00" + p.Path + "\x00" + stop.Event.Verdict.Rule
	now := stop.Event.Received
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.last[key]
	if r != nil && now.Sub(r.since) < again {
		r.more++
		return false
	}
	if r != nil && r.more > 0 {
		stop.Event.Explanation = "tried " + strconv.Itoa(r.more) + " more times before"
	}
	if len(s.last) >= maxSeen {
		clear(s.last)
	}
	s.last[key] = &repeated{since: now}
	return true
}
