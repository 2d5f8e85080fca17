// Package health holds what is well and what is not, in words for people and in states for machines.
package health

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// State is how well one thing is.
type State string

// The states. Degraded means: works, but somebody should look. Failed means: does not do its work now.
const (
	OK       State = "ok"
	Degraded State = "degraded"
	Failed   State = "failed"
)

// Item is one thing that can be well or not. Detail says what happened, Advice what to do.
type Item struct {
	Name   string    `json:"name"`
	State  State     `json:"state"`
	Detail string    `json:"detail,omitempty"`
	Advice string    `json:"advice,omitempty"`
	Since  time.Time `json:"since"`
}

// Board is the set of items of one process.
type Board struct {
	mu    sync.Mutex
	now   func() time.Time
	items map[string]Item
	watch []func(Item)
}

// NewBoard returns an empty board that takes the time from now.
func NewBoard(now func() time.Time) *Board { return &Board{now: now, items: map[string]Item{}} }

// Set puts an item on the board; watchers are told when its state changed.
func (b *Board) Set(name string, s State, detail, advice string) {
	b.mu.Lock()
	old, known := b.items[name]
	item := Item{Name: name, State: s, Detail: detail, Advice: advice, Since: old.Since}
	changed := !known || old.State != s
	if changed {
		item.Since = b.now()
	}
	b.items[name] = item
	watch := slices.Clone(b.watch)
	b.mu.Unlock()
	if changed {
		for _, f := range watch {
			f(item)
		}
	}
}

// Watch calls f, outside the lock, for each item whose state changes from now on.
func (b *Board) Watch(f func(Item)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watch = append(b.watch, f)
}

// Items returns all items, the worst first, then by name.
func (b *Board) Items() []Item {
	b.mu.Lock()
	defer b.mu.Unlock()
	rank := map[State]int{Failed: 0, Degraded: 1, OK: 2}
	out := make([]Item, 0, len(b.items))
	for _, i := range b.items {
		out = append(out, i)
	}
	slices.SortFunc(out, func(x, y Item) int {
		if d := rank[x.State] - rank[y.State]; d != 0 {
			return d
		}
		return strings.Compare(x.Name, y.Name)
	})
	return out
}

// State returns the state of one item, "" when it is not on the board.
func (b *Board) State(name string) State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.items[name].State
}

// Worst returns the state of the worst item, OK for an empty board.
func (b *Board) Worst() State {
	if items := b.Items(); len(items) > 0 {
		return items[0].State
	}
	return OK
}
