package unpack_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/unpack"
)

// TestEncrypted7zIsAlwaysSaid makes many archives under a password: the bytes of some look like those of a plain stream to who tries none.
func TestEncrypted7zIsAlwaysSaid(t *testing.T) {
	if _, err := exec.LookPath("7z"); err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("7z is not installed")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "holiday.jpg"), exe(), 0o600); err != nil {
		t.Fatal(err)
	}
	rounds := 100
	if os.Getenv("CHAPERONE_SOAK") == "1" {
		rounds = 5000
	}
	for range rounds {
		cmd := exec.Command("7z", "a", "-bd", "-psecret", "out", "holiday.jpg")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		path := filepath.Join(dir, "out.7z")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if s := walk(t, data, unpack.Limits{}); !slices.Contains(s.failures, "holiday.jpg: encrypted") {
			t.Fatalf("entries %q, failures %q", s.entries, s.failures)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestZipWithMoreBehind opens an archive with something behind its end, as 7-Zip does, and both of two that stand one behind the other.
func TestZipWithMoreBehind(t *testing.T) {
	first, second := zipped(t, file{"first.exe", exe()}), zipped(t, file{"second.exe", exe()})
	nested := zipped(t, file{"inner.zip", first}, file{"second.exe", exe()})
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, c := range map[string]struct {
		data []byte
		want []string
	}{
		"alone":          {first, []string{"first.exe"}},
		"zeros behind":   {join(first, make([]byte, 1<<20)), []string{"first.exe"}},
		"noise behind":   {join(first, noise(300_000)), []string{"first.exe"}},
		"two":            {join(first, second), []string{"first.exe", "second.exe"}},
		"noise between":  {join(first, noise(300_000), second), []string{"first.exe", "second.exe"}},
		"one in another": {nested, []string{"inner.zip!/first.exe", "second.exe"}},
		"words only":     {join([]byte("PK\x03\x04"), []byte("PK\x05\x06"), noise(100_000)), nil},
	} {
		h := hold(t, c.data, unpack.Limits{})
		var got []string
		for inside := range h.bodies {
			if strings.HasSuffix(inside, ".exe") {
				got = append(got, inside)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) || (len(h.failures) > 0) != (c.want == nil) {
			t.Errorf("%s: %q, failures %q", name, got, h.failures)
		}
	}
}
