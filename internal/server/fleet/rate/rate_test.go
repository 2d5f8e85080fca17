package rate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/server/fleet/rate"
)

func TestBucket(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := rate.NewBucket(10, 2, now)
	for _, c := range []struct {
		after time.Duration
		n     float64
		want  time.Duration
	}{
		{0, 10, 0},                     // all at once
		{0, 1, 500 * time.Millisecond}, // then so many a second
		{0, 1, time.Second},            // who does not wait owes
		{time.Second, 0, 0},            // and has paid by then
		{time.Hour, 10, 0},             // it is full, and no fuller
		{0, 1, 500 * time.Millisecond}, //
		{-time.Hour, 1, time.Second},   // a clock that goes back gives nothing
		{500 * time.Millisecond, 2, 1500 * time.Millisecond},
	} {
		now = now.Add(c.after)
		if got := b.Take(c.n, now); got != c.want {
			t.Errorf("%v after %v: wait %v, want %v", c.n, c.after, got, c.want)
		}
	}
}

func TestCounter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := rate.NewCounter(func() time.Time { return now })
	first, second, third, other := c.Add("a", 2), c.Add("a", 2), c.Add("a", 2), c.Add("b", 2)
	if !first || !second || third || !other {
		t.Error("two of each")
	}
	if c.Done("a"); !c.Add("a", 2) || c.Add("a", 2) {
		t.Error("one is done, and one more may be")
	}
	c.Done("nobody")
	w := rate.NewCounter(func() time.Time { return now })
	if !w.Within("a", 1) || w.Within("a", 1) {
		t.Error("one in a minute")
	}
	if now = now.Add(2 * time.Minute); !w.Within("a", 1) {
		t.Error("another minute")
	}
	for i := range 50_000 {
		c.Add(fmt.Sprint(i), 1)
	}
	if !c.Add("b", 1) {
		t.Error("it forgets all before it holds too many")
	}
}
