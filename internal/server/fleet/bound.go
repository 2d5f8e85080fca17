package fleet

import (
	"sync"
	"time"
)

// bucket lets so many units through at once and then so many a second. It is used by one goroutine.
type bucket struct {
	burst, rate float64
	left        float64
	at          time.Time
}

func newBucket(burst, rate float64, now time.Time) bucket {
	return bucket{burst, rate, burst, now}
}

// take takes n units and returns how long to wait until they are there.
func (b *bucket) take(n float64, now time.Time) time.Duration {
	b.left = min(b.burst, b.left+max(0, now.Sub(b.at).Seconds())*b.rate) - n
	b.at = now
	if b.left >= 0 {
		return 0
	}
	return time.Duration(-b.left / b.rate * float64(time.Second))
}

// counter counts by address. It holds a bounded number of them, and forgets all at each turn of a minute when it would hold more.
type counter struct {
	now  func() time.Time
	mu   sync.Mutex
	n    map[string]int
	turn time.Time
}

const maxCounted = 50_000

func newCounter(now func() time.Time) *counter {
	return &counter{now: now, n: map[string]int{}}
}

// add counts one more and reports whether there may be so many.
func (c *counter) add(key string, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.n) >= maxCounted {
		clear(c.n)
	}
	if c.n[key] >= most {
		return false
	}
	c.n[key]++
	return true
}

// done counts one less.
func (c *counter) done(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[key]--; c.n[key] <= 0 {
		delete(c.n, key)
	}
}

// within counts one more in this minute and reports whether there may be so many.
func (c *counter) within(key string, most int) bool {
	c.mu.Lock()
	if now := c.now(); now.Sub(c.turn) > time.Minute {
		clear(c.n)
		c.turn = now
	}
	c.mu.Unlock()
	return c.add(key, most)
}
