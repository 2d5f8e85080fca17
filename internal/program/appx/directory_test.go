package appx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// record is an entry of a directory.
func record(name string, offset uint64, wide bool) []byte {
	b := make([]byte, entrySize)
	copy(b, entryMagic)
	binary.LittleEndian.PutUint16(b[28:], uint16(len(name)))
	binary.LittleEndian.PutUint32(b[entryOffset:], uint32(offset))
	var extra []byte
	if wide {
		binary.LittleEndian.PutUint32(b[entryOffset:], full32)
		binary.LittleEndian.PutUint32(b[entryPacked:], full32)
		extra = []byte{9, 9, 2, 0, 1, 2, zip64ID, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		extra = binary.LittleEndian.AppendUint64(extra, offset)
		binary.LittleEndian.PutUint16(b[30:], uint16(len(extra)))
	}
	return append(append(b, name...), extra...)
}

// archive is one with a directory of some entries, in the form for large archives or the other.
func archive(wide bool, body []byte, entries ...[]byte) []byte {
	directory := slices.Concat(entries...)
	var tail []byte
	n, size, at := len(entries), len(directory), len(body)
	if wide {
		tail = make([]byte, end64Size+locatorSize)
		copy(tail, end64Magic)
		binary.LittleEndian.PutUint64(tail[24:], uint64(n))
		binary.LittleEndian.PutUint64(tail[32:], uint64(n))
		binary.LittleEndian.PutUint64(tail[40:], uint64(size))
		binary.LittleEndian.PutUint64(tail[48:], uint64(at))
		copy(tail[end64Size:], locatorMagic)
		binary.LittleEndian.PutUint64(tail[end64Size+8:], uint64(at+size))
		n, size, at = full16, full32, full32
	}
	end := make([]byte, endSize)
	copy(end, endMagic)
	binary.LittleEndian.PutUint16(end[8:], uint16(n))
	binary.LittleEndian.PutUint16(end[10:], uint16(n))
	binary.LittleEndian.PutUint32(end[12:], uint32(size))
	binary.LittleEndian.PutUint32(end[16:], uint32(at))
	return slices.Concat(body, directory, tail, end)
}

// TestDirectory makes of a signed archive's directory the one that it had before.
func TestDirectory(t *testing.T) {
	for _, wide := range []bool{false, true} {
		body, a := []byte("first signature"), record("a", 0, wide)
		d, err := openDirectory(archive(wide, body, a, record(signatureName, 6, wide)))
		if err != nil {
			t.Fatal(err)
		}
		want := archive(wide, body[:6], a)
		if got := slices.Concat(body[:d.signature], d.entries, d.end); !bytes.Equal(got, want) {
			t.Errorf("wide %v:\n%x\n%x", wide, got, want)
		}
	}
}

func TestBrokenDirectory(t *testing.T) {
	a, s := record("a", 0, false), record(signatureName, 1, false)
	for name, data := range map[string][]byte{
		"nothing":         nil,
		"no end":          make([]byte, 100),
		"no signature":    archive(false, []byte("xx"), a),
		"two signatures":  archive(false, []byte("xx"), s, s),
		"it lies outside": archive(false, []byte("x"), a, record(signatureName, 2, false)),
		"cut":             archive(false, nil, a[:20]),
		"cut name":        archive(false, nil, a[:entrySize]),
		"far directory":   append(make([]byte, 10), slices.Concat([]byte(endMagic), bytes.Repeat([]byte{0x7f}, 18))...),
		"lost locator":    slices.Concat([]byte(locatorMagic), make([]byte, 16), []byte(endMagic), make([]byte, 18)),
	} {
		if d, err := openDirectory(data); !errors.Is(err, errDirectory) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	short := record(signatureName, 1, true)
	short = short[:len(short)-10] // the number is not there
	if at := localOffset(short[:entrySize], short[entrySize+len(signatureName):]); at != full32 {
		t.Errorf("offset %d", at)
	}
}
