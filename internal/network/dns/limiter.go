package dns

import (
	"net/netip"
	"sync"
	"time"
)

// maxBuckets bounds the clients that are remembered; beyond it those that were quiet go first.
const maxBuckets = 16_384

// limiter bounds the questions of each client: a bucket of two seconds' worth, refilled as time goes.
type limiter struct {
	mu         sync.Mutex
	rate       float64 // a second; not positive for no bound
	young, old map[netip.Addr]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(rate int) *limiter {
	return &limiter{rate: float64(rate), young: map[netip.Addr]*bucket{}}
}

func (l *limiter) allow(client netip.Addr, now time.Time) bool {
	if l.rate <= 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(client, now)
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.tokens = min(2*l.rate, b.tokens+passed*l.rate)
		b.at = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (l *limiter) bucket(client netip.Addr, now time.Time) *bucket {
	if b, ok := l.young[client]; ok {
		return b
	}
	b, ok := l.old[client]
	if !ok {
		b = &bucket{tokens: 2 * l.rate, at: now}
	}
	if len(l.young) >= maxBuckets/2 {
		l.old, l.young = l.young, map[netip.Addr]*bucket{}
	}
	l.young[client] = b
	return b
}
