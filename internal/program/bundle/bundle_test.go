package bundle

import (
	"errors"
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
