package scan_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
)

// TestNamedDevice: a path that was named and is not looked at is said, not passed by.
func TestNamedDevice(t *testing.T) {
	s := newScanner(t, scan.Options{})
	var said []string
	sum, err := s.Scan(t.Context(), []string{"/dev/zero"}, func(r scan.Result) error {
		if r.Problem != nil {
			said = append(said, r.Problem.Reason)
		}
		return nil
	})
	if err != nil || sum.Errors != 1 || len(said) != 1 || said[0] != "special-file" {
		t.Errorf("%v, %+v, %v", said, sum, err)
	}
}

// TestHoles counts what files take, not how long they say they are.
func TestHoles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "holes"), []byte("words"))
	write(t, filepath.Join(dir, "full"), bytes.Repeat([]byte("words "), 50_000))
	if err := os.Truncate(filepath.Join(dir, "holes"), 1<<36); err != nil {
		t.Skip("no files with holes here:", err)
	}
	sum, err := newScanner(t, scan.Options{}).Scan(t.Context(), []string{dir}, func(scan.Result) error { return nil })
	if err != nil || sum.Files != 2 || sum.Bytes < 300_000 || sum.Bytes > 10<<20 {
		t.Errorf("%+v, %v", sum, err)
	}
}
