package msi

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// compound is a compound file of n entries: storages each in the one before, or streams one behind the other.
func compound(n int, nested bool) []byte {
	le := binary.LittleEndian
	sectors := (n + 3) / 4
	parts := 1
	for parts*128 < parts+sectors {
		parts++
	}
	b := make([]byte, 512)
	copy(b, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	for at, v := range map[int]uint16{24: 0x3e, 26: 3, 28: 0xfffe, 30: 9, 32: 6} {
		le.PutUint16(b[at:], v)
	}
	for at, v := range map[int]uint32{44: uint32(parts), 48: uint32(parts), 56: 4096, 60: endOfChain, 68: endOfChain} {
		le.PutUint32(b[at:], v)
	}
	for i := range inHeader {
		le.PutUint32(b[firstDifat+4*i:], noStream)
		if i < parts {
			le.PutUint32(b[firstDifat+4*i:], uint32(i))
		}
	}
	for range parts {
		b = le.AppendUint32(b, 0xfffffffd)
	}
	for i := range sectors {
		next := uint32(parts + i + 1)
		if i == sectors-1 {
			next = endOfChain
		}
		b = le.AppendUint32(b, next)
	}
	for range parts*128 - parts - sectors {
		b = le.AppendUint32(b, noStream)
	}
	for i := range sectors * 4 {
		e := make([]byte, entrySize)
		e[0], e[64], e[66], e[67] = 'a', 4, 1, 1
		links := [3]uint32{noStream, noStream, noStream} // left, right, child
		switch {
		case i == 0:
			e[66], links[2] = 5, 1
		case i >= n-1:
		case nested:
			links[2] = uint32(i + 1)
		default:
			links[1] = uint32(i + 1)
		}
		for k, v := range links {
			le.PutUint32(e[68+4*k:], v)
		}
		le.PutUint32(e[116:], endOfChain)
		b = append(b, e...)
	}
	return b
}

// TestDirectory refuses what the library would spend all memory on, and nothing less.
func TestDirectory(t *testing.T) {
	names := func(string, io.Reader, int64) error { return nil }
	for _, c := range []struct {
		entries int
		nested  bool
		want    error
	}{{100, true, nil}, {1900, true, nil}, {2100, true, ErrDirectory}, {4000, false, nil}, {50_000, true, ErrDirectory}} {
		if err := Streams(compound(c.entries, c.nested), names); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if entries, storages := directory(compound(c.entries, c.nested)); c.want == nil && (entries != (c.entries+3)/4*4 || c.nested != (storages > 1)) {
			t.Errorf("%+v: %d entries, %d storages", c, entries, storages)
		}
	}
	// More parts of the table than the header has room for.
	if entries, _ := directory(compound(60_000, false)[:1<<20]); entries == 0 {
		t.Error("no entries in a file that is cut off")
	}
	loop := compound(8, false)
	binary.LittleEndian.PutUint32(loop[512+4:], 1) // the directory's sector is followed by itself
	if entries, storages := directory(loop); entries <= maxEntries && storages <= maxStorages {
		t.Errorf("%d entries, %d storages in a loop", entries, storages)
	}
	for n := range 600 {
		directory(compound(8, true)[:n])
	}
}

// TestDirectoryOfRealInstaller counts as many entries as there are.
func TestDirectoryOfRealInstaller(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(build(t), "x.msi"))
	if err != nil {
		t.Fatal(err)
	}
	streams := 0
	if err := Streams(data, func(string, io.Reader, int64) error { streams++; return nil }); err != nil {
		t.Fatal(err)
	}
	if entries, storages := directory(data); entries <= streams || entries > streams+8 || storages != 1 {
		t.Errorf("%d entries, %d storages, %d streams", entries, storages, streams)
	}
}

func FuzzDirectory(f *testing.F) {
	f.Add(compound(9, true))
	f.Add(compound(600, false))
	f.Fuzz(func(t *testing.T, b []byte) {
		if entries, storages := directory(b); entries < 0 || storages > entries {
			t.Errorf("%d entries, %d storages", entries, storages)
		}
	})
}
