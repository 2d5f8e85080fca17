package authenticode

import (
	"errors"

	"github.com/ayoubfaouzi/pkcs7"
)

// Bounds of a signature before the library sees it: it calls itself for each level, without end, and copies all that is within at each.
const (
	maxSize    = 8 << 20
	maxLevels  = 64
	maxObjects = 200_000
)

// ErrShape says that a signature is damaged, or larger or deeper than signatures are.
var ErrShape = errors.New("authenticode: damaged, too large or too deep")

const (
	constructed = 0x20
	longTag     = 0x1f
	endless     = -1 // up to two zeros
)

// parse parses a signature of a bounded shape.
func parse(der []byte) (*pkcs7.PKCS7, error) {
	w := &shape{b: der}
	if _, ok := w.object(0, 0); !ok || len(der) > maxSize {
		return nil, ErrShape
	}
	return pkcs7.Parse(der)
}

// shape walks BER (X.690) as the library does.
type shape struct {
	b       []byte
	objects int
}

// object walks the object at a place and all within, and returns where the next one begins: what is within may be longer than the object says,
// and the library reads it again then.
func (w *shape) object(at, level int) (next int, ok bool) {
	if w.objects++; w.objects > maxObjects || level > maxLevels {
		return 0, false
	}
	kind, length, at := header(w.b, at)
	if at < 0 || length > len(w.b)-at || length == endless && kind&constructed == 0 {
		return 0, false
	}
	end := at + length
	if kind&constructed == 0 {
		return end, true
	}
	for length == endless || at < end {
		if at, ok = w.object(at, level+1); !ok {
			return 0, false
		}
		if length != endless {
			continue
		}
		if at+2 > len(w.b) {
			return 0, false
		}
		if w.b[at] == 0 && w.b[at+1] == 0 {
			return at + 2, true
		}
	}
	return end, true
}

// header reads the tag and the length of an object, and returns where its content begins, negative when there is none.
func header(b []byte, at int) (kind byte, length, next int) {
	if at+2 > len(b) {
		return 0, 0, -1
	}
	kind = b[at]
	at++
	if kind&longTag == longTag {
		for at < len(b) && b[at] >= 0x80 {
			at++
		}
		at++
	}
	if at >= len(b) {
		return 0, 0, -1
	}
	size := b[at]
	at++
	switch {
	case size == 0x80:
		return kind, endless, at
	case size < 0x80:
		return kind, int(size), at
	}
	n := int(size & 0x7f)
	if n > 4 || at+n > len(b) {
		return 0, 0, -1
	}
	for _, c := range b[at : at+n] {
		length = length<<8 | int(c)
	}
	return kind, length, at + n
}
