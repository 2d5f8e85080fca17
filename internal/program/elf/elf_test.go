package elf

import (
	"bytes"
	"encoding/binary"
	"os"
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

func TestBuildID(t *testing.T) {
	note := binary.LittleEndian.AppendUint32(nil, 4)
	note = binary.LittleEndian.AppendUint32(note, 2)
	note = append(binary.LittleEndian.AppendUint32(note, 3), "GNU\x00\xab\xcd"...)
	if got := buildID(note, binary.LittleEndian); got != "abcd" {
		t.Errorf("got %q", got)
	}
	for _, bad := range [][]byte{nil, note[:15], note[:17]} {
		if got := buildID(bad, binary.LittleEndian); got != "" {
			t.Errorf("%q from a cut note", got)
		}
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
