package trust_test

import (
	"crypto/md5" //nolint:gosec // what dpkg keeps
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/trust"
)

func open(t *testing.T, text string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "any name")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func database(t *testing.T, lists map[string]string) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "var/lib/dpkg/info")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range lists {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestTrustedByContent trusts what a package brought wherever it lies, and nothing that differs by one byte.
func TestTrustedByContent(t *testing.T) {
	sum := md5.Sum([]byte("a program")) //nolint:gosec // see above
	root := database(t, map[string]string{"x.md5sums": hex.EncodeToString(sum[:]) + "  usr/bin/x\nnonsense\n\nzz  y\n", "x.list": "/usr/bin/x\n"})
	p, err := trust.Load(t.Context(), root)
	if err != nil || p.Len() != 1 {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"a program": true, "a program ": false, "another": false, "": false} {
		if p.Trusted(open(t, text)) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

func TestNoPackages(t *testing.T) {
	p, err := trust.Load(t.Context(), t.TempDir())
	if err != nil || p.Len() != 0 || p.Trusted(open(t, "x")) {
		t.Error(err)
	}
}

// TestThisMachine trusts a program of this system.
func TestThisMachine(t *testing.T) {
	if _, err := os.Stat("/var/lib/dpkg/info/coreutils.md5sums"); err != nil {
		t.Skip("no dpkg here")
	}
	p, err := trust.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !p.Trusted(f) {
		t.Errorf("/bin/true is not among %d", p.Len())
	}
}

func TestUnreadable(t *testing.T) {
	root := database(t, map[string]string{"x.md5sums": string(make([]byte, 100<<10))})
	if _, err := trust.Load(t.Context(), root); err == nil {
		t.Error("a line of 100 KB was read")
	}
}
