package pe_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/pe"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

func TestLay(t *testing.T) {
	exe := programtest.PE(map[string]string{"ProductName": "Example"})
	l := pe.Lay(append(bytes.Clone(exe), "behind"...))
	if l.End != len(exe) {
		t.Errorf("ends at %d of %d", l.End, len(exe))
	}
	if section := exe[l.Resources[0]:l.Resources[1]]; !bytes.Contains(section, []byte("E\x00x\x00a\x00m\x00p\x00l\x00e\x00")) {
		t.Errorf("resources are not at %v", l.Resources)
	}
}

// TestLayOfDamage believes no size that leads out of the file.
func TestLayOfDamage(t *testing.T) {
	exe := programtest.PE(nil)
	huge := bytes.Clone(exe)
	for i := range 2 {
		binary.LittleEndian.PutUint32(huge[64+24+240+i*40+16:], 0xffffffff)
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "a text": []byte("MZ is how this text begins"), "cut in the header": exe[:70], "cut in the table": exe[:64+24+240+20], "sizes without end": huge,
	} {
		if l := pe.Lay(data); l.End != len(data) || l.Resources[0] != l.Resources[1] {
			t.Errorf("%s: %+v of %d", name, l, len(data))
		}
	}
}

func FuzzLay(f *testing.F) {
	f.Add(programtest.PE(map[string]string{"ProductName": "x"}))
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := pe.Lay(data)
		if l.End < 0 || l.End > len(data) || l.Resources[0] > l.Resources[1] || l.Resources[0] < 0 || l.Resources[1] > len(data) {
			t.Errorf("%+v of %d", l, len(data))
		}
	})
}
