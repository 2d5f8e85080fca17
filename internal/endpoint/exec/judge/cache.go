package judge

import (
	"maps"
	"sync"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
)

// known is what is known of one file.
type known struct {
	programs   []scan.Program // the file itself first
	own        int            // how many of them are the file and in it, where others lie beside it
	unproven   map[int]string // those beside that no package brought, with their names, where the mode locks
	reason     string         // why it could not be looked into
	medium     string
	recognised bool // a messenger is among the programs
	trusted    bool // a package brought it
	loose      bool // it lies in an image that others than root may change
	generic    bool // it may run what lies beside it
	lasting    bool // it stays true while the key stays the same
}

// sum is the SHA-256 of the file itself, "" when it is not known.
func (k *known) sum() string {
	if !k.itself() {
		return ""
	}
	return k.programs[0].SHA256
}

// itself reports whether the first that is known is the file itself, and not something in it.
func (k *known) itself() bool { return len(k.programs) > 0 && k.programs[0].Inside == "" }

// only is what is known with one program in the place of all, which the trust in the file itself is not for.
func (k *known) only(i int) *known {
	part := *k
	part.programs, part.trusted = k.programs[i:i+1], false
	return &part
}

// runtime reports whether the file says itself that it runs what lies beside it.
func (k *known) runtime() bool { return len(k.programs) > 0 && k.programs[0].Runtime }

// half is how many files each of the two halves of the cache holds.
const half = 1 << 15

// cache keeps what is known of files. It has two halves: what was used since the last turn, and what was before.
type cache struct {
	mu          sync.Mutex
	young, aged map[wire.Key]*known
}

func newCache() *cache {
	return &cache{young: map[wire.Key]*known{}, aged: map[wire.Key]*known{}}
}

func (c *cache) get(key wire.Key) *known {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.young[key]; k != nil {
		return k
	}
	k := c.aged[key]
	if k != nil {
		c.add(key, k)
	}
	return k
}

func (c *cache) put(key wire.Key, k *known) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(key, k)
}

func (c *cache) add(key wire.Key, k *known) {
	if len(c.young) >= half {
		c.young, c.aged = make(map[wire.Key]*known), c.young
	}
	c.young[key] = k
}

// leave forgets what lies on devices that a test is true of.
func (c *cache) leave(gone func(device uint64) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, half := range []map[wire.Key]*known{c.young, c.aged} {
		maps.DeleteFunc(half, func(k wire.Key, _ *known) bool { return gone(k.Dev) })
	}
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.young)
	clear(c.aged)
}
