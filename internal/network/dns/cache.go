package dns

import (
	"sync"
	"time"

	wire "github.com/miekg/dns"
)

// Bounds of what the cache keeps.
const (
	maxTTL    = time.Hour
	maxCached = 64 // records of one answer
)

type cacheKey struct {
	name   string
	qtype  uint16
	do, cd bool // DNSSEC records wanted, validation unwanted: other answers
}

// stored is an answer of upstream; nobody changes it.
type stored struct {
	msg   *wire.Msg
	at    time.Time
	until time.Time
}

// cache keeps answers for their time to live. It holds two generations of at most half its size: when the young one is full, the old one
// goes, and what is asked for again moves over. Forgetting too much costs a question; no bookkeeping is needed for each.
type cache struct {
	mu         sync.Mutex
	half       int
	young, old map[cacheKey]*stored
}

func newCache(entries int) *cache {
	return &cache{half: entries / 2, young: map[cacheKey]*stored{}}
}

func (c *cache) get(k cacheKey, now time.Time) *stored {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.young[k]
	if !ok {
		if s, ok = c.old[k]; !ok {
			return nil
		}
		c.add(k, s)
	}
	if !now.Before(s.until) {
		delete(c.young, k)
		delete(c.old, k)
		return nil
	}
	return s
}

func (c *cache) put(k cacheKey, s *stored) {
	life := lifetime(s.msg)
	if c.half <= 0 || life <= 0 {
		return
	}
	s.until = s.at.Add(life)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(k, s)
}

func (c *cache) add(k cacheKey, s *stored) {
	if len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[cacheKey]*stored, c.half)
	}
	c.young[k] = s
}

// lifetime returns how long an answer may be kept: its shortest time to live, for negative ones as the SOA says (RFC 2308, section 5).
func lifetime(m *wire.Msg) time.Duration {
	if m.Truncated || m.Rcode != wire.RcodeSuccess && m.Rcode != wire.RcodeNameError || len(m.Answer)+len(m.Ns)+len(m.Extra) > maxCached {
		return 0
	}
	shortest := maxTTL
	for _, rr := range m.Answer {
		shortest = min(shortest, time.Duration(rr.Header().Ttl)*time.Second)
	}
	if len(m.Answer) > 0 && m.Rcode == wire.RcodeSuccess {
		return shortest
	}
	for _, rr := range m.Ns {
		if soa, ok := rr.(*wire.SOA); ok {
			return min(shortest, time.Duration(min(soa.Hdr.Ttl, soa.Minttl))*time.Second)
		}
	}
	return 0
}
