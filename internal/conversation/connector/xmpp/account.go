package xmpp

import (
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/ack"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/roster"
)

// account is what a session knows of its user, and what a resumed session takes over.
type account struct {
	mu       sync.Mutex
	full     string // authenticated JID with its resource
	bare     string
	joined   map[string]string // room → own nick
	asked    map[string]bool   // rooms whose join was judged, without an answer yet
	toServer ack.Counter
	toClient ack.Counter
	left     time.Time // when its last session was lost
	session  *session  // that has it now
	roster   roster.Roster
	told     map[string]time.Time // words that the user was told, and when
}

const (
	tellAgain = time.Minute
	maxTold   = 64
)

// tell reports whether the user is to be told these words: not when they were within the last minute.
func (a *account) tell(words string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if last, told := a.told[words]; told && now.Sub(last) < tellAgain {
		return false
	}
	if a.told == nil || len(a.told) >= maxTold {
		a.told = map[string]time.Time{}
	}
	a.told[words] = now
	return true
}

func newAccount() *account { return &account{joined: map[string]string{}, asked: map[string]bool{}} }

func (a *account) jid() (full, bare string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.full, a.bare
}

func (a *account) nick(room string) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	nick, ok := a.joined[room]
	return nick, ok
}

// resumable holds the accounts that may be resumed, by the id the server gave (XEP-0198, section 5).
type resumable struct {
	mu  sync.Mutex
	ids map[string]*account
}

const maxResumable = 100_000

func (r *resumable) put(id string, a *account) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ids) >= maxResumable {
		return false
	}
	r.ids[id] = a
	return true
}

func (r *resumable) get(id string) *account {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ids[id]
}

// expire drops the accounts that were lost before t, and those that ended, and returns the lost ones.
func (r *resumable) expire(t time.Time) []*account {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lost []*account
	for id, a := range r.ids {
		a.mu.Lock()
		if a.session == nil && a.left.Before(t) {
			delete(r.ids, id)
			lost = append(lost, a)
		}
		a.mu.Unlock()
	}
	return lost
}
