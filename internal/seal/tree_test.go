package seal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"testing"
)

// TestChildIsHMAC holds the derivation against crypto/hmac.
func TestChildIsHMAC(t *testing.T) {
	for range 100 {
		var n node
		rand.Read(n.key[:])
		for bit := range uint32(2) {
			m := hmac.New(sha256.New, n.key[:])
			m.Write([]byte{byte(bit)})
			if c := n.child(bit); !hmac.Equal(m.Sum(nil), c.key[:]) || c.depth != 1 || c.prefix != bit<<31 {
				t.Fatalf("child %d: %+v", bit, c)
			}
		}
	}
}

// TestNextAndDeriveAgree: the keys that sealing takes one by one are those that reading derives from the root, and none comes again.
func TestNextAndDeriveAgree(t *testing.T) {
	root := cover{node{}}
	rand.Read(root[0].key[:])
	rest := append(cover{}, root...)
	seen := map[[keySize]byte]bool{}
	for i := range uint32(5000) {
		leaf, ok := rest.next()
		if !ok || leaf.prefix != i || seen[leaf.key] {
			t.Fatalf("leaf %d: %+v", i, leaf)
		}
		seen[leaf.key] = true
		if again, err := root.derive(i); err != nil || again != leaf {
			t.Fatalf("leaf %d is not what is derived: %v", i, err)
		}
		for _, n := range rest {
			if n.covers(i) {
				t.Fatalf("after leaf %d its key can still be derived", i)
			}
		}
	}
	last := cover{node{depth: depth, prefix: 1<<32 - 1}}
	if leaf, ok := last.next(); !ok || leaf.prefix != 1<<32-1 {
		t.Error("the last leaf")
	}
	if _, ok := last.next(); ok {
		t.Error("there is no leaf after the last")
	}
}

// FuzzDecodeCover: what it takes is what it would write, and finding agrees with trying all nodes.
func FuzzDecodeCover(f *testing.F) {
	c := cover{node{}}
	f.Add(c.encode(), uint32(0))
	f.Add(c.puncture(7).encode(), uint32(7))
	f.Add(c.puncture(0).puncture(1<<32-1).encode(), uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, leaf uint32) {
		c, err := decodeCover(b)
		if err != nil {
			return
		}
		if string(c.encode()) != string(b) {
			t.Fatal("other bytes")
		}
		tried := -1
		for i, n := range c {
			if n.covers(leaf) {
				tried = i
			}
		}
		if c.find(leaf) != tried {
			t.Fatalf("found %d, there is %d", c.find(leaf), tried)
		}
		if out := c.puncture(leaf); out.covered(leaf) {
			t.Fatal("punctured, and still there")
		} else if again, err := decodeCover(out.encode()); err != nil || len(again) != len(out) {
			t.Fatal(err)
		}
	})
}
