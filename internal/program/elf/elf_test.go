package elf

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program"
)

// TestOurselves reads this test's own binary.
func TestOurselves(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	id, err := Parse(data, program.ELF)
	if err != nil || id.Kind != program.Client || id.Format != program.ELF {
		t.Errorf("%+v, %v", id, err)
	}
}

// TestSystemProgram reads a program that has libraries and a build id.
func TestSystemProgram(t *testing.T) {
	data, err := os.ReadFile("/usr/bin/env")
	if err != nil || !bytes.HasPrefix(data, []byte("\x7fELF")) {
		t.Skip("no such program here")
	}
	id, err := Parse(data, program.ELF)
	if err != nil || len(id.Needed) == 0 || len(id.BuildID) != 40 {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestBroken(t *testing.T) {
	for _, data := range []string{"", "\x7fELF", "\x7fELF\x02\x01\x01\x00AI\x02" + string(make([]byte, 100))} {
		if _, err := Parse([]byte(data), program.AppImage); err == nil {
			t.Errorf("%q was read", data)
		}
	}
}

// note is one note, padded to align bytes.
func note(align int, name string, kind uint32, desc []byte) []byte {
	pad := func(b []byte) []byte { return append(b, make([]byte, (align-len(b)%align)%align)...) }
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(name)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(desc)))
	return pad(append(pad(append(binary.LittleEndian.AppendUint32(b, kind), name...)), desc...))
}

// TestNoted finds the build id among other notes, and nothing in what is cut, of others, or lies about its size.
func TestNoted(t *testing.T) {
	id := []byte{0xab, 0xcd, 1}
	const gnu = "GNU\x00"
	for _, align := range []int{4, 8} {
		good := note(align, gnu, 3, id)
		whole := slices.Concat(note(align, gnu, 1, make([]byte, 16)), note(align, "Go\x00\x00", 4, []byte("x")), good)
		for title, notes := range map[string][]byte{"alone": good, "behind others": whole, "without its padding": good[:len(good)-1]} {
			if got := noted(notes, uint64(align), binary.LittleEndian); got != "abcd01" {
				t.Errorf("%d, %s: %q", align, title, got)
			}
		}
		huge := bytes.Clone(good)
		binary.LittleEndian.PutUint32(huge, 0xfffffff8)
		for title, notes := range map[string][]byte{"nothing": nil, "a head": good[:12], "a cut id": good[:17], "of another vendor": note(align, "FSF\x00", 3, id),
			"another kind": note(align, gnu, 5, id), "too long": note(align, gnu, 3, make([]byte, 65)), "a name beyond its end": huge} {
			if got := noted(notes, uint64(align), binary.LittleEndian); got != "" {
				t.Errorf("%d, %s: %q", align, title, got)
			}
		}
	}
}

// TestBuildIDWithoutSections reads it from what is loaded, as when the table of sections was cut off.
func TestBuildIDWithoutSections(t *testing.T) {
	data, err := os.ReadFile("/usr/bin/env")
	if err != nil || !bytes.HasPrefix(data, []byte("\x7fELF\x02\x01")) {
		t.Skip("no such program here")
	}
	whole, err := Parse(data, program.ELF)
	if err != nil {
		t.Fatal(err)
	}
	clear(data[40:48]) // e_shoff
	clear(data[58:64]) // e_shentsize, e_shnum, e_shstrndx
	id, err := Parse(data, program.ELF)
	if err != nil || id.BuildID == "" || id.BuildID != whole.BuildID {
		t.Errorf("%q, with sections %q, %v", id.BuildID, whole.BuildID, err)
	}
}

func TestUpdateName(t *testing.T) {
	for info, want := range map[string]string{
		"gh-releases-zsync|owner|Signal|latest|Signal*.zsync\x00\x00": "Signal",
		"zsync|https://example.org/x.zsync":                           "",
		"":                                                            "",
	} {
		if got := updateName([]byte(info)); got != want {
			t.Errorf("%q: got %q", info, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	if data, err := os.ReadFile("/usr/bin/env"); err == nil && len(data) < 1<<20 {
		f.Add(data)
	}
	f.Add([]byte("\x7fELF\x02\x01\x01\x00" + string(make([]byte, 100))))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if len(data) <= 1<<20 {
			_, _ = Parse(data, program.AppImage) // must end, whatever it says
		}
	})
}
