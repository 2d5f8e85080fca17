package rpm_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/programtest"
	"github.com/chaperone-im/chaperone/internal/program/rpm"
)

// Where the two headers of a generated package begin: behind the lead of 96 bytes, and behind the empty signature.
const (
	signatureAt = 96
	headerAt    = 112
)

// TestHostileHeaders: counts and offsets that lie are an error or an empty value, and never read what is not there.
func TestHostileHeaders(t *testing.T) {
	good := programtest.RPM("signal", "7.0", "Nobody", []byte("payload"))
	word := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) }
	}
	for _, c := range []struct {
		name   string
		change func(b []byte)
		fails  bool
		pkg    string
	}{
		{"as it is", func([]byte) {}, false, "signal"},
		{"no magic of the signature", word(signatureAt, 0), true, ""},
		{"no magic of the header", word(headerAt, 0x8eade700), true, ""},
		{"more entries than bytes", word(headerAt+8, 5000), true, ""},
		{"more entries than allowed", word(headerAt+8, 1<<31), true, ""},
		{"the most entries there can be", word(headerAt+8, 0xffffffff), true, ""},
		{"a store larger than the file", word(headerAt+12, 1<<20), true, ""},
		{"the largest store there can be", word(headerAt+12, 0xffffffff), true, ""},
		{"a signature larger than the file", word(signatureAt+12, 1<<30), true, ""},
		{"a name behind the store", word(headerAt+16+8, 1<<30), false, ""},
		{"a name at the end of numbers", word(headerAt+16+8, 0xffffffff), false, ""},
		{"a name at the version's place", word(headerAt+16+8, 7), false, "7.0"},
		{"no entries", word(headerAt+8, 0), false, ""},
		{"a tag that nobody knows", word(headerAt+16, 9999), false, ""},
	} {
		b := bytes.Clone(good)
		c.change(b)
		id, err := rpm.Parse(b)
		if (err != nil) != c.fails || id.Package != c.pkg || id.Format != "rpm" {
			t.Errorf("%s: %+v, %v", c.name, id, err)
		}
	}
}

// TestChangedBytes changes each byte: it ends, and texts stay short and printable.
func TestChangedBytes(t *testing.T) {
	good := programtest.RPM("signal", "7.0", "Nobody", nil)
	for i := range good {
		for _, with := range []byte{0, 1, 0x1b, 0x7f, 0xff} {
			b := bytes.Clone(good)
			b[i] = with
			id, _ := rpm.Parse(b)
			for _, s := range []string{id.Package, id.Version, id.Maintains} {
				if len(s) > 600 || bytes.ContainsAny([]byte(s), "\x00\x1b\x7f\xff") {
					t.Errorf("byte %d is %#x: %q", i, with, s)
				}
			}
		}
	}
}

// TestVendors: who makes a package is its vendor; the text is as the package says it.
func TestVendors(t *testing.T) {
	for _, c := range []struct{ name, version, vendor string }{{"a", "1", "Vendor, Inc."}, {"a-b+c", "1.2~rc3", ""}, {"ünïcode", "1", "Gesellschaft für Pakete"}} {
		id, err := rpm.Parse(programtest.RPM(c.name, c.version, c.vendor, nil))
		if err != nil || id.Package != c.name || id.Version != c.version+"-1" || id.Maintains != c.vendor {
			t.Errorf("%+v, %v", id, err)
		}
	}
}
