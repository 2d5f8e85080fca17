// Package rate bounds how much and how often others may ask of a fleet server: by time (Bucket), and by who asks (Counter).
package rate

import (
	"sync"
	"time"
)

// Bucket lets so many units through at once and then so many a second. It is used by one goroutine.
type Bucket struct {
	burst, rate float64
	left        float64
	at          time.Time
}

// NewBucket returns a full bucket.
func NewBucket(burst, rate float64, now time.Time) Bucket {
	return Bucket{burst, rate, burst, now}
}

// Take takes n units and returns how long to wait until they are there.
func (b *Bucket) Take(n float64, now time.Time) time.Duration {
	b.left = min(b.burst, b.left+max(0, now.Sub(b.at).Seconds())*b.rate) - n
	b.at = now
	if b.left >= 0 {
		return 0
	}
	return time.Duration(-b.left / b.rate * float64(time.Second))
}

// Counter counts by address. It holds a bounded number of them, and forgets all at each turn of a minute when it would hold more.
type Counter struct {
	now  func() time.Time
	mu   sync.Mutex
	n    map[string]int
	turn time.Time
}

const maxCounted = 50_000

// NewCounter returns a counter of nothing yet, by a clock.
func NewCounter(now func() time.Time) *Counter {
	return &Counter{now: now, n: map[string]int{}}
}

// Add counts one more and reports whether there may be so many.
func (c *Counter) Add(key string, most int) bool {
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

// Done counts one less.
func (c *Counter) Done(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[key]--; c.n[key] <= 0 {
		delete(c.n, key)
	}
}

// Within counts one more in this minute and reports whether there may be so many.
func (c *Counter) Within(key string, most int) bool {
	c.mu.Lock()
	if now := c.now(); now.Sub(c.turn) > time.Minute {
		clear(c.n)
		c.turn = now
	}
	c.mu.Unlock()
	return c.Add(key, most)
}
