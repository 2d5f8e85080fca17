package seal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

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

type root struct {
	id    rootID
	month string
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
	s.mu.Lock()
	defer s.mu.Unlock()
	month := s.clock.Now().Format("2006-01")
	r := s.roots[scope]
	if r == nil || r.month != month {
		var err error
		if r, err = s.begin(scope, month); err != nil {
			return rootID{}, node{}, err
		}
	}
	leaf, ok := r.rest.next()
	if !ok {
		delete(s.roots, scope)
		return rootID{}, node{}, errors.New("seal: this root has no keys left; try again")
	}
	return r.id, leaf, nil
}

func (s *TreeSealer) begin(scope Scope, month string) (*root, error) {
	r := &root{month: month, rest: make(cover, 1, depth+1)}
	rand.Read(r.id[:])
	rand.Read(r.rest[0].key[:])
	if err := writeRoot(s.dir, r.id, s.clock.Now(), r.rest, s.keys); err != nil {
		return nil, fmt.Errorf("seal: begin a root: %w", err)
	}
	if _, ok := s.roots[scope]; !ok {
		s.order = append(s.order, scope)
	}
	s.roots[scope] = r
	if len(s.order) > maxScopes {
		delete(s.roots, s.order[0])
		s.order = s.order[1:]
	}
	return r, nil
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
