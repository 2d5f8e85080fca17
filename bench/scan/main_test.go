package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
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

// TestWider has as many texts as the goals are set for, and scans with them.
func TestWider(t *testing.T) {
	dir := t.TempDir()
	app := filepath.Join(dir, "bench.yaml")
	c, err := widerCatalog(app)
	if err != nil || len(c.Tokens()) != literals {
		t.Fatalf("%d texts, %v", len(c.Tokens()), err)
	}
	seen := map[string]bool{}
	for _, x := range c.Tokens() {
		seen[x.Text] = true
	}
	if len(seen) < literals-40 { // one text may be of two systems
		t.Errorf("%d different texts", len(seen))
	}
	if err := scanOnce(dir, app); err != nil {
		t.Error(err)
	}
}

func TestMain(m *testing.M) {
	sandbox.Child(os.Args, []sandbox.Parser{reveal.Parser()})
	os.Exit(m.Run())
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

func TestGoals(t *testing.T) {
	var b strings.Builder
	g := &goals{out: &b}
	g.atMost("one", 0.1, 0.5)
	g.atLeast("two", 2, 2)
	g.atMost("three", 0.6, 0.5)
	g.atLeast("four", 1, 2)
	if g.missed != 2 || strings.Count(b.String(), " met\n") != 2 || strings.Count(b.String(), "MISSED") != 2 {
		t.Errorf("%d missed: %s", g.missed, b.String())
	}
}

func TestSummary(t *testing.T) {
	known, took, err := summary([]byte("{\"type\":\"finding\"}\n{\"type\":\"summary\",\"known\":7,\"seconds\":0.5}\n"))
	if known != 7 || took.Milliseconds() != 500 || err != nil {
		t.Errorf("%d, %v, %v", known, took, err)
	}
	for _, bad := range []string{"", "{\"type\":\"finding\"}", "words"} {
		if _, _, err := summary([]byte(bad)); err == nil {
			t.Errorf("%q has a summary", bad)
		}
	}
	found, wanted, err := samples([]byte("x_test.go:1: 770 of 771 disguised samples found: 22 formats"))
	if found != 770 || wanted != 771 || err != nil {
		t.Errorf("%d, %d, %v", found, wanted, err)
	}
	if _, _, err := samples([]byte("FAIL")); err == nil {
		t.Error("nothing was counted")
	}
}
