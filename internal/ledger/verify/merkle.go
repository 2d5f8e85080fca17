package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"math/bits"
)

// hash is a node of an RFC 6962 tree.
type hash [sha256.Size]byte

func leafHash(data []byte) hash {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(data)
	return hash(h.Sum(nil))
}

func nodeHash(left, right hash) hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// tree is an append-only RFC 6962 tree that keeps only the roots of its perfect subtrees, the largest first.
type tree struct {
	size  uint64
	nodes []hash
}

func (t *tree) append(h hash) {
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.nodes) - 1
		h = nodeHash(t.nodes[last], h)
		t.nodes = t.nodes[:last]
	}
	t.nodes = append(t.nodes, h)
	t.size++
}

// root returns the root over all leaves so far (RFC 6962, section 2.1).
func (t *tree) root() hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	n := bits.OnesCount64(t.size)
	h := t.nodes[n-1]
	for i := n - 2; i >= 0; i-- {
		h = nodeHash(t.nodes[i], h)
	}
	return h
}

func rootOf(leaves []hash) hash {
	var t tree
	for _, h := range leaves {
		t.append(h)
	}
	return t.root()
}
