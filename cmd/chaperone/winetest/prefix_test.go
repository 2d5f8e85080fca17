package winetest

import (
	"bytes"
	"debug/pe"
	"testing"
)

// TestForwarder: what stands in for the missing library is one that others can read.
func TestForwarder(t *testing.T) {
	b := forwarder("a.dll", "Do", "b.Other")
	f, err := pe.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok || f.Machine != pe.IMAGE_FILE_MACHINE_AMD64 || len(f.Sections) != 1 {
		t.Fatalf("%+v", f.FileHeader)
	}
	section, err := f.Sections[0].Data()
	if err != nil {
		t.Fatal(err)
	}
	exports := h.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT]
	if f.Sections[0].VirtualAddress != exports.VirtualAddress || !bytes.Contains(section[:exports.Size], []byte("a.dll\x00Do\x00b.Other\x00")) {
		t.Errorf("%+v: %q", exports, section[:exports.Size])
	}
}
