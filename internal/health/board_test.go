package health_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/health"
)

// clock is a time that moves when it is told to.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newBoard() (*health.Board, *clock) {
	c := &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	return health.NewBoard(c.Now), c
}

// TestOrder: the worst first, and by name where they are as bad.
func TestOrder(t *testing.T) {
	b, _ := newBoard()
	for _, i := range []struct {
		name  string
		state health.State
	}{{"ledger", health.OK}, {"clamd", health.Degraded}, {"journal", health.Failed}, {"archive", health.OK}, {"alerts", health.Degraded}, {"console", health.Failed}} {
		b.Set(i.name, i.state, "", "")
	}
	var got []string
	for _, i := range b.Items() {
		got = append(got, i.Name)
	}
	if s := strings.Join(got, " "); s != "console journal alerts clamd archive ledger" {
		t.Errorf("order: %s", s)
	}
	if b.Worst() != health.Failed {
		t.Errorf("worst is %s", b.Worst())
	}
}

// TestWorst follows the items as they get better.
func TestWorst(t *testing.T) {
	b, _ := newBoard()
	for _, step := range []struct {
		name  string
		state health.State
		want  health.State
	}{
		{"a", health.OK, health.OK}, {"b", health.Degraded, health.Degraded}, {"c", health.Failed, health.Failed}, {"c", health.Degraded, health.Degraded},
		{"b", health.OK, health.Degraded}, {"c", health.OK, health.OK},
	} {
		if b.Set(step.name, step.state, "", ""); b.Worst() != step.want || b.State(step.name) != step.state {
			t.Errorf("%s %s: worst is %s, want %s", step.name, step.state, b.Worst(), step.want)
		}
	}
	if b.State("nobody") != "" {
		t.Errorf("an item that is not there is %q", b.State("nobody"))
	}
}

// TestSince: an item is in its state since it came into it, whatever is said of it in the meantime.
func TestSince(t *testing.T) {
	b, c := newBoard()
	begin := c.now
	for _, step := range []struct {
		state health.State
		since time.Duration
	}{{health.OK, 0}, {health.OK, 0}, {health.Failed, 2 * time.Minute}, {health.Failed, 2 * time.Minute}, {health.OK, 4 * time.Minute}} {
		b.Set("journal", step.state, fmt.Sprint(c.now), "")
		if i := b.Items()[0]; !i.Since.Equal(begin.Add(step.since)) || i.Detail != fmt.Sprint(c.now) {
			t.Errorf("%s at %s: %+v", step.state, c.now, i)
		}
		c.now = c.now.Add(time.Minute)
	}
}

// TestWatchersHearOfChanges: each change once, in order, and every watcher; not of what was before they came.
func TestWatchersHearOfChanges(t *testing.T) {
	b, _ := newBoard()
	b.Set("before", health.Failed, "", "")
	var one, two []string
	b.Watch(func(i health.Item) { one = append(one, i.Name+" "+string(i.State)+" "+i.Advice) })
	b.Set("a", health.OK, "", "none")
	b.Watch(func(i health.Item) {
		two = append(two, i.Name+" "+string(i.State))
		_ = b.Worst() // the board may be asked
	})
	b.Set("a", health.OK, "still", "none")
	b.Set("a", health.Degraded, "slow", "look")
	b.Set("before", health.OK, "", "")
	if s := strings.Join(one, ", "); s != "a ok none, a degraded look, before ok " {
		t.Errorf("the first heard %s", s)
	}
	if s := strings.Join(two, ", "); s != "a degraded, before ok" {
		t.Errorf("the second heard %s", s)
	}
}

// TestItemsAreCopies: who was given the items cannot change the board.
func TestItemsAreCopies(t *testing.T) {
	b, _ := newBoard()
	b.Set("a", health.OK, "fine", "")
	b.Items()[0].State = health.Failed
	if b.Worst() != health.OK {
		t.Error("the board was changed from outside")
	}
}

func TestItemForMachines(t *testing.T) {
	b, _ := newBoard()
	b.Set("clamd", health.Degraded, "slow", "")
	text, err := json.Marshal(b.Items())
	if err != nil || string(text) != `[{"name":"clamd","state":"degraded","detail":"slow","since":"2026-01-01T00:00:00Z"}]` {
		t.Errorf("%s, %v", text, err)
	}
}

// TestManyAtOnce: set, watched and read by many, each change is told once.
func TestManyAtOnce(t *testing.T) {
	b, _ := newBoard()
	var mu sync.Mutex
	told := 0
	b.Watch(func(health.Item) { mu.Lock(); told++; mu.Unlock() })
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			name := fmt.Sprint("item ", i)
			for n := range 50 {
				b.Set(name, []health.State{health.OK, health.Failed}[n%2], "", "")
				b.Items()
			}
		})
	}
	all.Wait()
	if told != 16*50 || len(b.Items()) != 16 {
		t.Errorf("%d changes told of %d items", told, len(b.Items()))
	}
}
