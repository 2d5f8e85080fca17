package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// TestInputs: the same numbers give the same input, others another; sizes stay within bounds.
func TestInputs(t *testing.T) {
	m := &mutator{seeds: []seed{newSeed(zipped("b.desktop", desktopFile)), newSeed(programtest.Tar(map[string][]byte{"a": exe()}))}, number: 5}
	seen := map[string]bool{}
	for i := range uint64(2000) {
		b := m.input(i)
		if !bytes.Equal(b, m.input(i)) {
			t.Fatalf("input %d is not always the same", i)
		}
		if len(b) > maxInput {
			t.Errorf("input %d has %d bytes", i, len(b))
		}
		seen[string(b)] = true
	}
	if len(seen) < 1900 {
		t.Errorf("%d different inputs of 2000", len(seen))
	}
	if bytes.Equal(m.input(1), (&mutator{seeds: m.seeds, number: 6}).input(1)) {
		t.Error("another seed number changes nothing")
	}
}

// TestSmall changes seeds that leave no room.
func TestSmall(t *testing.T) {
	for _, b := range [][]byte{nil, {1}, []byte("1234567"), []byte("12345678")} {
		m := &mutator{seeds: []seed{newSeed(b)}, number: 5}
		for i := range uint64(3000) {
			m.input(i)
		}
	}
}

// TestFields finds the lengths that a header holds, and digits.
func TestFields(t *testing.T) {
	s := newSeed([]byte("head\x10\x00\x00\x00\x00\x00\x00\x14 012345 tail and more"))
	var little, big, digits bool
	for _, f := range s.fields {
		little = little || f.at == 4 && f.size == 4 && !f.big
		big = big || f.at == 8 && f.size == 4 && f.big
		digits = digits || f.at == 13 && f.end == 19
	}
	if !little || !big || !digits {
		t.Errorf("%+v", s.fields)
	}
}

// TestMend: what was changed is read, for its checksum is right again.
func TestMend(t *testing.T) {
	tarred := programtest.Tar(map[string][]byte{"name": []byte("body")})
	tarred[0] = 'f'
	(&mender{}).mend(tarred, 0)
	if h, err := tar.NewReader(bytes.NewReader(tarred)).Next(); err != nil || h.Name != "fame" {
		t.Errorf("tar: %+v, %v", h, err)
	}
	z := zipped("name", "body")
	z[bytes.Index(z, []byte("body"))] = 't'
	(&mender{}).mend(z, 0)
	if r, err := zip.NewReader(bytes.NewReader(z), int64(len(z))); err != nil {
		t.Error(err)
	} else if f, err := r.File[0].Open(); err != nil {
		t.Error(err)
	} else if b, err := io.ReadAll(f); err != nil || string(b) != "tody" {
		t.Errorf("zip: %q, %v", b, err)
	}
	g := programtest.Gzip([]byte("body"))
	g[len(g)-8] ^= 1
	(&mender{}).mend(g, 0)
	if r, err := gzip.NewReader(bytes.NewReader(g)); err != nil {
		t.Error(err)
	} else if b, err := io.ReadAll(r); err != nil || string(b) != "body" {
		t.Errorf("gzip: %q, %v", b, err)
	}
}

// TestMendHeaders: a change in a header that is summed leads further than to its sum.
func TestMendHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		b  []byte
		at int
	}{
		"rar4": {rar4("b.desktop", desktopFile, 0), 7 + 13 + 15}, "rar5": {rar5("b.desktop", desktopFile), 8 + 8 + 7}, "xar": {xar("application/octet-stream", "b.desktop", []byte(desktopFile)), 28 + 3},
		"deb": {programtest.Deb("example", "1", nil), 150}, "rpm": {programtest.RPM("example", "1", "", programtest.Gzip(nil)), 300}, "self-extracting": {append(exe(), rar4("a", desktopFile, 0)...), len(exe()) + 7 + 13 + 15},
	} {
		once := bytes.Clone(c.b)
		once[min(c.at, len(once)-1)] ^= 4
		(&mender{}).mend(once, 0)
		twice := bytes.Clone(once)
		if (&mender{}).mend(twice, 0); !bytes.Equal(once, twice) {
			t.Errorf("%s: it is mended in another way the second time", name)
		}
		if len(once) != len(c.b) {
			t.Errorf("%s: %d bytes became %d", name, len(c.b), len(once))
		}
	}
	good := rar4("b.desktop", desktopFile, 0)
	mended := bytes.Clone(good)
	if (&mender{}).mend(mended, 0); !bytes.Equal(good, mended) {
		t.Error("rar4: what is right is mended")
	}
	good = rar5("b.desktop", desktopFile)
	mended = bytes.Clone(good)
	if (&mender{}).mend(mended, 0); !bytes.Equal(good, mended) {
		t.Error("rar5: what is right is mended")
	}
}

// FuzzMend must end, and never change the size.
func FuzzMend(f *testing.F) {
	all, err := written()
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"zip", "gzip", "tar", "rar4", "rar5", "xar", "deb", "rpm", "self-extracting"} {
		f.Add(all[name][0])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<17 {
			return
		}
		n := len(b)
		if (&mender{}).mend(b, 0); len(b) != n {
			t.Errorf("%d bytes of %d", len(b), n)
		}
	})
}

func TestDone(t *testing.T) {
	if o := done(nil); !o.clean {
		t.Error("no error is a complaint")
	}
	if o := done(errors.New("runtime error: slice bounds out of range")); o.clean || o.caught == "" {
		t.Errorf("%+v", o)
	}
}
