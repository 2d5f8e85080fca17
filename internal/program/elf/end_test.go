package elf_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/elf"
)

func self(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// small is a 32-bit ELF that has nothing but one segment.
func small() []byte {
	b := make([]byte, 52+32+16)
	copy(b, "\x7fELF\x01\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 3)
	le.PutUint32(b[20:], 1)
	le.PutUint32(b[28:], 52)
	le.PutUint16(b[40:], 52)
	le.PutUint16(b[42:], 32)
	le.PutUint16(b[44:], 1)
	le.PutUint16(b[46:], 40)
	le.PutUint32(b[52:], 1)
	le.PutUint32(b[56:], 84)
	le.PutUint32(b[68:], 16)
	return b
}

func TestEnd(t *testing.T) {
	for name, data := range map[string][]byte{"this very program": self(t), "a small one of 32 bits": small()} {
		for _, behind := range []string{"", "behind it"} {
			if got := elf.End(append(bytes.Clone(data), behind...)); got != len(data) {
				t.Errorf("%s with %q: ends at %d of %d", name, behind, got, len(data))
			}
		}
	}
}

// TestEndOfDamage believes no size that leads out of the file.
func TestEndOfDamage(t *testing.T) {
	huge := small()
	binary.LittleEndian.PutUint32(huge[68:], 0xfffffff0)
	for name, data := range map[string][]byte{"nothing": nil, "a header that is cut": small()[:30], "a segment without end": huge, "a text": []byte("\x7fELF is how this begins")} {
		if got := elf.End(data); got != len(data) {
			t.Errorf("%s: ends at %d of %d", name, got, len(data))
		}
	}
}

func FuzzEnd(f *testing.F) {
	f.Add(small())
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if end := elf.End(data); end < 0 || end > len(data) {
			t.Errorf("%d of %d", end, len(data))
		}
	})
}
