package bundle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"howett.net/plist"

	"github.com/chaperone-im/chaperone/internal/program"
)

func info(t testing.TB, format int, values map[string]any) []byte {
	t.Helper()
	b, err := plist.Marshal(values, format)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	values := map[string]any{"CFBundleIdentifier": "ru.keepcoder.Telegram", "CFBundleName": "Telegram", "CFBundleShortVersionString": "10.1",
		"CFBundleExecutable": "Telegram", "CFBundlePackageType": "APPL", "LSRequires": []any{1, "x"}}
	for _, format := range []int{plist.XMLFormat, plist.BinaryFormat} {
		id, err := Parse(info(t, format, values))
		if err != nil || id.Bundle != "ru.keepcoder.Telegram" || id.Version != "10.1" || id.Kind != program.Client {
			t.Errorf("format %d: %+v, %v", format, id, err)
		}
	}
	id, err := Parse(info(t, plist.XMLFormat, map[string]any{"CFBundleIdentifier": "x.y", "CFBundlePackageType": "FMWK"}))
	if err != nil || id.Kind != program.Library {
		t.Errorf("framework: %+v, %v", id, err)
	}
	if _, err := Parse(info(t, plist.XMLFormat, map[string]any{"Label": "x"})); !errors.Is(err, ErrNotBundle) {
		t.Errorf("another property list: %v", err)
	}
	if _, err := Parse(make([]byte, maxPlist+1)); !errors.Is(err, ErrNotBundle) {
		t.Errorf("a large one: %v", err)
	}
	if _, err := Parse([]byte("bplist00garbage")); err == nil {
		t.Error("garbage was read")
	}
}

// TestDeep refuses lists within lists before the library calls itself for each: it would end the process, or not end.
func TestDeep(t *testing.T) {
	deep := []byte(`<?xml version="1.0"?><plist version="1.0">` + strings.Repeat("<x:array>", 400_000))
	be := binary.BigEndian
	var objects, offsets []byte
	const levels = 100_000
	for i := range uint32(levels) {
		offsets = be.AppendUint32(offsets, uint32(8+len(objects)))
		objects = be.AppendUint32(append(objects, 0xa1), i+1)
	}
	offsets = be.AppendUint32(offsets, uint32(8+len(objects)))
	b := append(append([]byte("bplist00"), append(objects, 8)...), offsets...)
	b = append(b, 0, 0, 0, 0, 0, 0, 4, 4)
	b = be.AppendUint64(be.AppendUint64(be.AppendUint64(b, levels+1), 0), uint64(8+len(objects)+1))
	for name, data := range map[string][]byte{"xml": deep, "binary": b} {
		if _, err := Parse(data); err == nil || !strings.Contains(err.Error(), "more in it") {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := map[string]any{"CFBundleIdentifier": "a.b"}
	for i := range 3000 {
		many[fmt.Sprint("key", i)] = []any{i, map[string]any{"x": "y"}}
	}
	for _, format := range []int{plist.XMLFormat, plist.BinaryFormat} {
		if id, err := Parse(info(t, format, many)); err != nil || id.Bundle != "a.b" {
			t.Errorf("many: %+v, %v", id, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, format := range []int{plist.XMLFormat, plist.BinaryFormat} {
		f.Add(info(f, format, map[string]any{"CFBundleIdentifier": "x.y"}))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		if len(b) < 1<<16 {
			_, _ = Parse(b) // must end, whatever it says
		}
	})
}
