package seal

import (
	"crypto/hmac"
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

// child derives the left (0) or right (1) child: HMAC-SHA256 under the parent's key (Goldreich, Goldwasser, Micali 1986).
func (n node) child(bit uint32) node {
	m := hmac.New(sha256.New, n.key[:])
	m.Write([]byte{byte(bit)})
	c := node{depth: n.depth + 1, prefix: n.prefix | bit<<(depth-1-n.depth)}
	m.Sum(c.key[:0])
	return c
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

// derive returns the key of a leaf, or ErrErased.
func (c cover) derive(leaf uint32) (node, error) {
	for _, n := range c {
		if !n.covers(leaf) {
			continue
		}
		for n.depth < depth {
			n = n.child(leaf >> (depth - 1 - n.depth) & 1)
		}
		return n, nil
	}
	return node{}, ErrErased
}

// puncture replaces the node above leaf by the siblings along the path to it. What was punctured stays so.
func (c cover) puncture(leaf uint32) cover {
	i := slices.IndexFunc(c, func(n node) bool { return n.covers(leaf) })
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
		if n.depth > depth {
			return nil, errors.New("seal: a node is too deep")
		}
		copy(n.key[:], b[5:])
		out = append(out, n)
	}
	return out, nil
}
