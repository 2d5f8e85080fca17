package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
)

func TestClamSignatures(t *testing.T) {
	got := clamSignatures([]catalog.Token{{Text: "ab"}})
	if got != "Token.0:0:*:6162\nToken.0W:0:*:61006200\n" {
		t.Errorf("got %q", got)
	}
}

func TestYaraRules(t *testing.T) {
	got := yaraRules([]catalog.Token{{Text: `a"b\c`}})
	if got != "rule token_0 { strings: $a = \"a\\\"b\\\\c\" ascii wide condition: $a }\n" {
		t.Errorf("got %q", got)
	}
}

func TestCount(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if files, bytes, err := count(dir); files != 1 || bytes != 3 || err != nil {
		t.Errorf("%d files, %d bytes, %v", files, bytes, err)
	}
}

func TestMeasure(t *testing.T) {
	c, err := measure("true")
	if err != nil || c.wall == 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := measure("sh", "-c", "exit 3"); err == nil {
		t.Error("a failure was measured")
	}
	var b strings.Builder
	c.print(&b, "true", 1, 1, c)
	if !strings.HasPrefix(b.String(), "true ") {
		t.Errorf("%q", b.String())
	}
}
