package seal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	sealedVersion = 1
	prefixSize    = 1 + rootIDSize + 4
	maxSealed     = 16 << 20
	maxScopes     = 10_000 // roots held at once; beyond, the oldest is let go and its scope begins a new root
)

// TreeSealer is the Sealer of one process. It holds only the nodes of keys still to come.
type TreeSealer struct {
	dir   string
	keys  []*PublicKey
	clock clock.Clock

	mu    sync.Mutex
	roots map[Scope]*root
	order []Scope // oldest first
}

// root is the current root of a scope. It has a lock of its own, so that making one root durable does not hold up other scopes.
type root struct {
	mu    sync.Mutex
	id    rootID
	month string // "" before the first root
	rest  cover
}

// NewSealer returns a sealer that wraps its roots to keys and keeps them in dir/roots.
func NewSealer(dir string, keys []*PublicKey, c clock.Clock) (*TreeSealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("seal: no compliance key is configured: what is sealed could never be read")
	}
	return &TreeSealer{dir: dir, keys: keys, clock: c, roots: map[Scope]*root{}}, nil
}

// Seal implements Sealer.
func (s *TreeSealer) Seal(scope Scope, content, context []byte) ([]byte, error) {
	if len(content) > maxSealed-prefixSize-chacha20poly1305.Overhead {
		return nil, fmt.Errorf("seal: content of %d bytes is larger than a record may be", len(content))
	}
	id, leaf, err := s.next(scope)
	if err != nil {
		return nil, err
	}
	return encrypt(id, leaf, content, context)
}

func (s *TreeSealer) next(scope Scope) (rootID, node, error) {
	r := s.root(scope)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := s.clock.Now()
	if month := now.UTC().Format("2006-01"); r.month != month {
		if err := s.begin(r, now); err != nil {
			return rootID{}, node{}, fmt.Errorf("seal: begin a root: %w", err)
		}
		r.month = month
	}
	leaf, ok := r.rest.next()
	if !ok {
		r.month = ""
		return rootID{}, node{}, errors.New("seal: this root has no keys left; try again")
	}
	return r.id, leaf, nil
}

// root returns the scope's entry. One that is let go while somebody still uses it ends with that use.
func (s *TreeSealer) root(scope Scope) *root {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.roots[scope]; r != nil {
		return r
	}
	r := &root{}
	s.roots[scope] = r
	s.order = append(s.order, scope)
	if len(s.order) > maxScopes {
		delete(s.roots, s.order[0])
		s.order = s.order[1:]
	}
	return r
}

// begin gives r a new root, once that is durable. When it cannot be made so r is as it was, and is asked for again.
func (s *TreeSealer) begin(r *root, now time.Time) error {
	var id rootID
	rest := make(cover, 1, depth+1)
	rand.Read(id[:])
	rand.Read(rest[0].key[:])
	if err := writeRoot(s.dir, id, now, rest, s.keys); err != nil {
		return err
	}
	r.id, r.rest = id, rest
	return nil
}

// encrypt seals content under a leaf's key. That key is used for this one message, so a fixed nonce repeats nothing.
func encrypt(id rootID, leaf node, content, context []byte) ([]byte, error) {
	c, err := chacha20poly1305.New(leaf.key[:])
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, prefixSize+len(content)+chacha20poly1305.Overhead)
	out = append(append(out, sealedVersion), id[:]...)
	out = binary.BigEndian.AppendUint32(out, leaf.prefix)
	var nonce [chacha20poly1305.NonceSize]byte
	return c.Seal(out, nonce[:], content, additional(out, context)), nil
}

func additional(prefix, context []byte) []byte {
	return append(append(make([]byte, 0, prefixSize+len(context)), prefix[:prefixSize]...), context...)
}
