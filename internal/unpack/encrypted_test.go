package unpack_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
