package sample_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	files "github.com/chaperone-im/chaperone/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/sample"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

func TestMain(m *testing.M) {
	sandbox.Child(os.Args, []sandbox.Parser{reveal.Parser()})
	os.Exit(m.Run())
}

// generate makes TestGenerate write samples.
var generate = flag.Bool("generate", false, "write generated samples into catalog/samples")

// TestGenerate writes, with -generate, a package for some messengers and one for none: it bears the name and holds nothing of the product.
func TestGenerate(t *testing.T) {
	if !*generate {
		t.Skip("writes only with -generate")
	}
	const made = "made: \"generated: it bears the name and holds nothing of the product, 2026-11\""
	for _, c := range []struct{ app, name, facts string }{
		{"telegram", "telegram-desktop", "deb:telegram-desktop"}, {"signal", "signal-desktop", "deb:signal-desktop"}, {"tox", "qtox", "deb:qtox"},
		{"mumble", "mumble", "deb:mumble"}, {catalog.Innocent, "hello", ""},
	} {
		dir := filepath.Join("..", "..", "..", "catalog", "samples", c.app)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		file := c.name + ".deb"
		if err := os.WriteFile(filepath.Join(dir, file), programtest.Deb(c.name, "1.0", map[string][]byte{"./usr/share/doc/readme": []byte("generated\n")}), 0o644); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "labels.yaml")
		text, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if strings.Contains(string(text), file) {
			continue
		}
		facts := ""
		if c.facts != "" {
			facts = ", facts: [\"" + c.facts + "\"]"
		}
		text = fmt.Appendf(text, "programs:\n  - {file: %s, %s%s}\n", file, made, facts)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestShippedSamples: the built-in catalog identifies all its samples of programs.
func TestShippedSamples(t *testing.T) {
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	s, err := catalog.LoadSamples(files.Files)
	if err != nil {
		t.Fatal(err)
	}
	n, problems, err := sample.Replay(t.Context(), c, s)
	if err != nil || n < 5 {
		t.Errorf("%d programs, %v", n, err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// TestReplay: what is not identified as stated is named.
func TestReplay(t *testing.T) {
	const made = `made: "by hand, 2026-11"`
	for _, c := range []struct{ name, folder, label, problem string }{
		{"as stated", "pigeon", `file: a.deb, facts: ["deb:pigeon"]`, ""},
		{"by another fact", "pigeon", `file: a.deb, facts: ["deb:dove"]`, "is not identified by deb:dove, but by deb:pigeon"},
		{"as another", "raven", `file: a.deb`, `is not identified as raven, but as "pigeon"`},
		{"not at all", "pigeon", `file: b.deb`, `is not identified as pigeon, but as ""`},
		{"of none, and found", "none", `file: a.deb`, "is identified as pigeon, and is none"},
		{"of none", "none", `file: b.deb`, ""},
		{"no such file", "pigeon", `file: c.deb`, "not exist"},
	} {
		fsys := fstest.MapFS{
			"apps/pigeon.yaml":                     {Data: []byte("id: pigeon\nname: Pigeon\nsources: [\"docs.example, 2026-11\"]\nprograms: {linux: [{deb: [pigeon]}]}\n")},
			"samples/" + c.folder + "/a.deb":       {Data: programtest.Deb("pigeon", "1", nil)},
			"samples/" + c.folder + "/b.deb":       {Data: programtest.Deb("sparrow", "1", nil)},
			"samples/" + c.folder + "/labels.yaml": {Data: []byte("programs: [{" + c.label + ", " + made + "}]")},
		}
		cat, err := catalog.Load(fsys)
		if err != nil {
			t.Fatal(err)
		}
		s, err := catalog.LoadSamples(fsys)
		if err != nil {
			t.Fatal(err)
		}
		n, problems, err := sample.Replay(t.Context(), cat, s)
		if err != nil || (n == 1) != (c.problem == "") || !strings.Contains(fmt.Sprint(problems), c.problem) {
			t.Errorf("%s: %d, %v, %v", c.name, n, problems, err)
		}
	}
}
