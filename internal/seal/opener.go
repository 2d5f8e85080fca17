package seal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// TreeOpener is the Opener of the role that reads: it holds the compliance private key.
type TreeOpener struct {
	dir  string
	key  *PrivateKey
	keys []*PublicKey // what punctured roots are wrapped to again

	mu    sync.Mutex
	roots map[rootID]*openRoot
	order []rootID
}

type openRoot struct {
	nodes cover
	made  time.Time
}

// maxOpenRoots bounds the unwrapped roots held in memory.
const maxOpenRoots = 4096

// NewOpener returns an opener over dir/roots. Keys are all compliance keys in force, that of key among them.
func NewOpener(dir string, key *PrivateKey, keys []*PublicKey) *TreeOpener {
	return &TreeOpener{dir: dir, key: key, keys: keys, roots: map[rootID]*openRoot{}}
}

func parseSealed(sealed []byte) (id rootID, leaf uint32, err error) {
	if len(sealed) < prefixSize+chacha20poly1305.Overhead || len(sealed) > maxSealed {
		return id, 0, errors.New("seal: sealed bytes have the wrong size")
	}
	if sealed[0] != sealedVersion {
		return id, 0, fmt.Errorf("seal: version %d is not known", sealed[0])
	}
	copy(id[:], sealed[1:])
	return id, binary.BigEndian.Uint32(sealed[1+rootIDSize:]), nil
}

// Open implements Opener.
func (o *TreeOpener) Open(sealed, context []byte) ([]byte, error) {
	id, leaf, err := parseSealed(sealed)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	r, err := o.root(id)
	var n node
	if err == nil {
		n, err = r.nodes.derive(leaf)
	}
	o.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c, err := chacha20poly1305.New(n.key[:])
	if err != nil {
		return nil, err
	}
	var nonce [chacha20poly1305.NonceSize]byte
	content, err := c.Open(nil, nonce[:], sealed[prefixSize:], additional(sealed, context))
	if err != nil {
		return nil, errors.New("seal: sealed bytes were changed, or belong to another record")
	}
	return content, nil
}

func (o *TreeOpener) root(id rootID) (*openRoot, error) {
	if r := o.roots[id]; r != nil {
		return r, nil
	}
	nodes, made, err := readRoot(o.dir, id, o.key)
	if err != nil {
		return nil, err
	}
	r := &openRoot{nodes, made}
	o.roots[id] = r
	o.order = append(o.order, id)
	if len(o.order) > maxOpenRoots {
		delete(o.roots, o.order[0])
		o.order = o.order[1:]
	}
	return r, nil
}

// Erase implements Opener: it replaces the way to the record's key by its siblings, durably. Erasing again changes nothing.
func (o *TreeOpener) Erase(sealed []byte) error { return o.EraseAll(sealed) }

// EraseAll destroys the keys of many records, and writes each root only once. After an error some roots may have been written and others
// not; it can be called again.
func (o *TreeOpener) EraseAll(sealed ...[]byte) error {
	leaves := map[rootID][]uint32{}
	for _, s := range sealed {
		id, leaf, err := parseSealed(s)
		if err != nil {
			return err
		}
		leaves[id] = append(leaves[id], leaf)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, all := range leaves {
		if err := o.erase(id, all); err != nil {
			return fmt.Errorf("seal: erase: %w", err)
		}
	}
	return nil
}

// CanErase says why Erase would not destroy the key of a sealed record, as that its root is lost.
func (o *TreeOpener) CanErase(sealed []byte) error {
	id, _, err := parseSealed(sealed)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err = o.root(id)
	return err
}

func (o *TreeOpener) erase(id rootID, leaves []uint32) error {
	r, err := o.root(id)
	if err != nil {
		return err
	}
	nodes, changed := r.nodes, false
	for _, leaf := range leaves {
		if !nodes.covered(leaf) {
			continue
		}
		nodes, changed = nodes.puncture(leaf), true
	}
	if !changed {
		return nil
	}
	if len(nodes) > maxNodes {
		return fmt.Errorf("root %s has too many single records destroyed: destroy those between them too", id)
	}
	if err := writeRoot(o.dir, id, r.made, nodes, o.keys); err != nil {
		delete(o.roots, id) // what is on disk counts
		return err
	}
	r.nodes = nodes
	return nil
}
