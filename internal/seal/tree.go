package seal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
)

const (
	depth    = 32 // of a key tree: 2^32 records under one root
	keySize  = 32
	nodeSize = 1 + 4 + keySize
)

// node is an inner node or a leaf of a key tree: everything below it can be derived from key. prefix holds its path in the high depth bits.
type node struct {
	depth  uint8
	prefix uint32
	key    [keySize]byte
}

// child derives the left (0) or right (1) child: HMAC-SHA256 under the parent's key (Goldreich, Goldwasser, Micali 1986). The construction of
// RFC 2104 is written out, because this is all that reading a record costs, 32 times, and crypto/hmac allocates each time.
func (n node) child(bit uint32) node {
	var inner [sha256.BlockSize + 1]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	for i := range sha256.BlockSize {
		k := byte(0)
		if i < keySize {
			k = n.key[i]
		}
		inner[i], outer[i] = k^0x36, k^0x5c
	}
	inner[sha256.BlockSize] = byte(bit)
	sum := sha256.Sum256(inner[:])
	copy(outer[sha256.BlockSize:], sum[:])
	return node{depth: n.depth + 1, prefix: n.prefix | bit<<(depth-1-n.depth), key: sha256.Sum256(outer[:])}
}

// covers reports whether leaf is below n.
func (n node) covers(leaf uint32) bool {
	return n.depth == 0 || n.prefix>>(depth-n.depth) == leaf>>(depth-n.depth)
}

// cover is a set of nodes, in the order of their leaves: what can still be derived.
type cover []node

// next takes the first leaf that the cover can derive, and forgets the way to it.
func (c *cover) next() (leaf node, ok bool) {
	if len(*c) == 0 {
		return node{}, false
	}
	last := len(*c) - 1 // kept in reverse, so that taking is cheap
	n := (*c)[last]
	*c = (*c)[:last]
	for n.depth < depth {
		*c = append(*c, n.child(1))
		n = n.child(0)
	}
	return n, true
}

// find returns the index of the node above leaf, -1 when there is none. The cover must be in the order of its leaves.
func (c cover) find(leaf uint32) int {
	i, found := slices.BinarySearchFunc(c, leaf, func(n node, leaf uint32) int {
		switch {
		case n.covers(leaf):
			return 0
		case n.prefix < leaf:
			return -1
		default:
			return 1
		}
	})
	if !found {
		return -1
	}
	return i
}

// covered reports whether the key of leaf can be derived.
func (c cover) covered(leaf uint32) bool { return c.find(leaf) >= 0 }

// derive returns the key of a leaf, or ErrErased.
func (c cover) derive(leaf uint32) (node, error) {
	i := c.find(leaf)
	if i < 0 {
		return node{}, ErrErased
	}
	n := c[i]
	for n.depth < depth {
		n = n.child(leaf >> (depth - 1 - n.depth) & 1)
	}
	return n, nil
}

// puncture replaces the node above leaf by the siblings along the path to it. What was punctured stays so.
func (c cover) puncture(leaf uint32) cover {
	i := c.find(leaf)
	if i < 0 {
		return c
	}
	n := c[i]
	out := append(cover{}, c[:i]...)
	var after []node
	for n.depth < depth {
		bit := leaf >> (depth - 1 - n.depth) & 1
		sibling := n.child(1 - bit)
		if bit == 1 {
			out = append(out, sibling)
		} else {
			after = append(after, sibling)
		}
		n = n.child(bit)
	}
	slices.Reverse(after)
	return append(append(out, after...), c[i+1:]...)
}

func (c cover) encode() []byte {
	out := make([]byte, 0, len(c)*nodeSize)
	for _, n := range c {
		out = append(out, n.depth)
		out = binary.BigEndian.AppendUint32(out, n.prefix)
		out = append(out, n.key[:]...)
	}
	return out
}

func decodeCover(b []byte) (cover, error) {
	if len(b)%nodeSize != 0 {
		return nil, errors.New("seal: nodes of a root have the wrong size")
	}
	out := make(cover, 0, len(b)/nodeSize)
	for ; len(b) > 0; b = b[nodeSize:] {
		n := node{depth: b[0], prefix: binary.BigEndian.Uint32(b[1:])}
		if n.depth > depth || n.depth < depth && n.prefix<<n.depth != 0 {
			return nil, errors.New("seal: a node has no place in the tree")
		}
		if last := len(out) - 1; last >= 0 && (n.prefix <= out[last].prefix || out[last].covers(n.prefix)) {
			return nil, errors.New("seal: the nodes of a root are not in order")
		}
		copy(n.key[:], b[5:])
		out = append(out, n)
	}
	return out, nil
}
