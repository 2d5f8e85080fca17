package unpack_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/unpack"
)

// sevenMethods are those of 7z, where they stand in a header that is not packed, and where their memory does.
func sevenMethods() map[string]struct {
	args   []string
	id     string
	memory int // bytes behind the id
} {
	return map[string]struct {
		args   []string
		id     string
		memory int
	}{
		"lzma":  {[]string{"-m0=lzma:d=64k"}, "\x03\x01\x01\x05", 5},
		"lzma2": {[]string{"-m0=lzma2:d=64k"}, "\x21\x01", 2},
		"ppmd":  {[]string{"-m0=ppmd:mem=1m"}, "\x03\x04\x01\x05", 5},
	}
}

// TestSevenMethods reads what each method packed, more than a window of it, alone and in solid archives of several files.
func TestSevenMethods(t *testing.T) {
	body := exe()
	for i := range 4000 {
		body = fmt.Appendf(body, "line %d of %x\n", i, i*i*2654435761)
	}
	for name, m := range sevenMethods() {
		for _, more := range [][]string{nil, {"-ms=on"}, {"-mf=bcj"}, {"-mhc=off"}} {
			data := byTool(t, "7z", slices.Concat([]string{"a", "-bd"}, m.args, more, []string{"OUT", "."}), file{"a.exe", body}, file{"b.txt", body[3000:]}, file{"c.exe", body[:len(body)-7]})
			h := hold(t, data, unpack.Limits{})
			if !bytes.Equal(h.bodies["a.exe"], body) || !bytes.Equal(h.bodies["c.exe"], body[:len(body)-7]) || h.failures != nil {
				t.Errorf("%s %v: %q, failures %q", name, more, h.entries, h.failures)
			}
		}
	}
}

// TestSevenMemory: an archive that wants more memory than there is to give is refused; one that wants it in vain, for little, is read.
func TestSevenMemory(t *testing.T) {
	for name, m := range sevenMethods() {
		data := byTool(t, "7z", slices.Concat([]string{"a", "-bd", "-mhc=off"}, m.args, []string{"OUT", "."}), file{"a.exe", exe()})
		header := data[32+binary.LittleEndian.Uint64(data[12:]):]
		at := bytes.Index(header, []byte(m.id))
		if at < 0 {
			t.Fatalf("%s: % x", name, header)
		}
		wants := header[at+m.memory:]
		if wants[0] = 39; name != "lzma2" {
			binary.LittleEndian.PutUint32(wants, 0xe0000000)
		}
		sum := func() {
			binary.LittleEndian.PutUint32(data[28:], crc32.ChecksumIEEE(header))
			binary.LittleEndian.PutUint32(data[8:], crc32.ChecksumIEEE(data[12:32]))
		}
		sum()
		s := walk(t, data, unpack.Limits{})
		if name == "ppmd" {
			if !slices.Contains(s.failures, "a.exe: unsupported") {
				t.Errorf("%s: %q, failures %q", name, s.entries, s.failures)
			}
			continue
		}
		if !slices.Contains(s.entries, "a.exe (pe)") || s.failures != nil {
			t.Errorf("%s: %q, failures %q", name, s.entries, s.failures)
		}
	}
}

// TestSevenLocked tells encryption from damage by the method that is named, not by what the bytes look like.
func TestSevenLocked(t *testing.T) {
	for _, args := range [][]string{{"-psecret"}, {"-psecret", "-mhe=on"}, {"-psecret", "-m0=copy"}, {"-psecret", "-m0=ppmd"}} {
		data := byTool(t, "7z", slices.Concat([]string{"a", "-bd"}, args, []string{"OUT", "."}), file{"a.exe", exe()})
		s := walk(t, data, unpack.Limits{})
		if len(s.failures) != 1 || !strings.HasSuffix(s.failures[0], ": encrypted") {
			t.Errorf("%v: %q, failures %q", args, s.entries, s.failures)
		}
		data[len(data)-40] ^= 1
		if s := walk(t, data, unpack.Limits{}); s.failures == nil {
			t.Errorf("%v, damaged: %q", args, s.entries)
		}
	}
}

// TestSevenCutOff says of a member that ends too soon, by a method that passes on what it is given, that it is cut off.
func TestSevenCutOff(t *testing.T) {
	data := byTool(t, "7z", []string{"a", "-bd", "-mhc=off", "-m0=delta:4", "-m1=copy", "OUT", "."}, file{"a.exe", exe()})
	header := data[32+binary.LittleEndian.Uint64(data[12:]):]
	at := bytes.IndexByte(header, 0x0c) // the sizes of what each method brings
	if at < 0 || header[at+1]&0xc0 != 0x80 || !bytes.Equal(header[at+1:at+3], header[at+3:at+5]) {
		t.Fatalf("% x", header)
	}
	header[at+1]++ // the higher bits
	header[at+3]++
	binary.LittleEndian.PutUint32(data[28:], crc32.ChecksumIEEE(header))
	binary.LittleEndian.PutUint32(data[8:], crc32.ChecksumIEEE(data[12:32]))
	if s := walk(t, data, unpack.Limits{}); !slices.Equal(s.failures, []string{"a.exe: unparseable"}) {
		t.Errorf("%q, failures %q", s.entries, s.failures)
	}
}
