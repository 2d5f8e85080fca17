package pe_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/pe"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// TestVersionWithoutEnd: lengths that lead nowhere must not keep the reader from telling what the program is; a reader that follows a string of
// length nought for ever lets a messenger pass as a file that took too long.
func TestVersionWithoutEnd(t *testing.T) {
	good := programtest.PE(map[string]string{"ProductName": "Telegram Desktop", "CompanyName": "Telegram FZ-LLC", "FileDescription": "Telegram", "OriginalFilename": "Telegram.exe"})
	begin := bytes.Index(good, []byte("V\x00S\x00_\x00V\x00E\x00R\x00S\x00I\x00O\x00N\x00")) - 6
	if begin < 0 {
		t.Fatal("there is no version resource")
	}
	for at := begin; at+2 <= len(good); at += 2 {
		for _, length := range []uint16{0, 1, 5, 6, 7, 0x7fff, 0xffff} {
			b := bytes.Clone(good)
			binary.LittleEndian.PutUint16(b[at:], length)
			if _, err := pe.Parse(b); err != nil {
				t.Errorf("%d at %d: %v", length, at, err)
			}
		}
	}
}

// TestVersionOfManyStrings reads what it is asked for among others.
func TestVersionOfManyStrings(t *testing.T) {
	for i := range 3 {
		version := map[string]string{}
		for j := range i * 20 {
			version[fmt.Sprint("Key", j)] = fmt.Sprint("value ", j)
		}
		version["ProductName"], version["CompanyName"] = "Ein Wort über Ω", "x"
		id, err := pe.Parse(programtest.PE(version))
		if err != nil || id.Product != "Ein Wort über Ω" || id.Company != "x" || id.Unread != "" {
			t.Errorf("%d: %+v, %v", i, id, err)
		}
	}
}
