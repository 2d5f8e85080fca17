package judge

import (
	"context"
	"sync"
)

// turns shares the looking among users, so that whoever starts many large files leaves room for everybody else. Root is not bound: who is root
// does not need this way to stop others.
type turns struct {
	each int // turns of one user at a time

	mu    sync.Mutex
	users map[uint32]*user
}

// user is one who has files looked at. It is forgotten when nobody uses it.
type user struct {
	places chan struct{}
	uses   int
}

// now takes a turn when there is one, and returns what gives it back.
func (t *turns) now(uid uint32) (back func(), ok bool) {
	if uid == 0 {
		return func() {}, true
	}
	u := t.use(uid)
	select {
	case u.places <- struct{}{}:
		return func() { <-u.places; t.leave(uid) }, true
	default:
		t.leave(uid)
		return nil, false
	}
}

// wait waits for a turn until the context ends.
func (t *turns) wait(ctx context.Context, uid uint32) (back func(), err error) {
	u := t.use(uid)
	select {
	case u.places <- struct{}{}:
		return func() { <-u.places; t.leave(uid) }, nil
	case <-ctx.Done():
		t.leave(uid)
		return nil, ctx.Err()
	}
}

func (t *turns) use(uid uint32) *user {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users[uid]
	if u == nil {
		u = &user{places: make(chan struct{}, t.each)}
		if t.users == nil {
			t.users = map[uint32]*user{}
		}
		t.users[uid] = u
	}
	u.uses++
	return u
}

func (t *turns) leave(uid uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users[uid]
	if u.uses--; u.uses == 0 {
		delete(t.users, uid)
	}
}
