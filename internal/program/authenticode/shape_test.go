package authenticode

import (
	"bytes"
	"crypto"
	"errors"
	"testing"
	"time"
)

// TestShape refuses signatures that would end the process: the library calls itself for each level, and reads again what is longer than what it
// is in.
func TestShape(t *testing.T) {
	rereads := []byte{0x05, 0x00}
	for range 40 { // each level says that it is two bytes long, and holds more: what follows is read at every level
		rereads = append([]byte{0x30, 0x02}, rereads...)
		rereads = append(rereads, 0x30, 0x02, 0x05, 0x00)
	}
	for name, der := range map[string][]byte{
		"levels": bytes.Repeat([]byte{0x30, 0x80}, 1<<20), "levels with sizes": bytes.Repeat([]byte{0x30, 0x83, 0x10, 0, 0}, 1000),
		"many": append([]byte{0x30, 0x80}, bytes.Repeat([]byte{5, 0}, 1<<20)...), "large": make([]byte, maxSize+1), "nothing": nil, "no length": {0x30}, "cut off": {0x30, 5, 1},
		"an endless number": {0x02, 0x80, 0, 0}, "endless": {0x30, 0x80, 5, 0, 0}, "a long tag": bytes.Repeat([]byte{0x3f, 0xff}, 100), "a long length": {0x30, 0x85, 1, 1, 1, 1, 1},
	} {
		if _, err := parse(der); !errors.Is(err, ErrShape) {
			t.Errorf("%s: %v", name, err)
		}
		if s, err := ParseAll(der, nil); err == nil || s != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	w := &shape{b: rereads}
	if w.object(0, 0); w.objects > maxObjects+1 {
		t.Errorf("%d objects", w.objects)
	}
	for _, at := range []time.Time{{}, time.Unix(1e9, 0)} {
		if w := (&shape{b: signature(t, []byte("content"), at)}); true {
			if next, ok := w.object(0, 0); !ok || next != len(w.b) {
				t.Errorf("a good signature: %d of %d, %t", next, len(w.b), ok)
			}
		}
	}
}

func FuzzShape(f *testing.F) {
	f.Add(signature(f, []byte("content"), time.Unix(1e9, 0)))
	f.Add([]byte{0x30, 0x80, 0x30, 0x02, 5, 0, 0, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		w := &shape{b: der}
		next, ok := w.object(0, 0)
		if ok && (next <= 0 || next > len(der)) || w.objects > maxObjects+1 {
			t.Errorf("%d of %d, %d objects", next, len(der), w.objects)
		}
		_, _ = ParseAll(der, func(crypto.Hash) ([]byte, error) { return nil, nil }) // must end, whatever it says
	})
}
