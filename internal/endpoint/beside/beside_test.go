package beside

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/program"
)

// folder lays files, and returns the opened runtime among them.
func folder(t *testing.T, files map[string]string) (dir string, runtime *os.File) {
	t.Helper()
	dir = t.TempDir()
	files["runtime"] = "a runtime"
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(filepath.Join(dir, "runtime"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // it may be closed already
	return dir, f
}

func at(t *testing.T, f *os.File, path string) *Place {
	t.Helper()
	p, err := Look(f, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestLook hands over archives as they are, and folders as archives.
func TestLook(t *testing.T) {
	dir, f := folder(t, map[string]string{"resources/app.asar": "an archive", "resources/app/package.json": `{"name":"x"}`, "resources/app/a/main.js": "code",
		"package.nw/package.json": `{"name":"y"}`})
	seen := map[string]string{}
	if err := at(t, f, filepath.Join(dir, "runtime")).Each(func(name string, f *os.File) error {
		b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
		seen[name] = string(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 3 || seen["resources/app.asar"] != "an archive" {
		t.Fatalf("%q", seen)
	}
	for name, text := range map[string]string{"resources/app": "code", "package.nw": `{"name":"y"}`} {
		if b := seen[name]; program.Sniff([]byte(b+strings.Repeat("\x00", 100))) != program.ASAR || !strings.Contains(b, text) {
			t.Errorf("%s: %q", name, b)
		}
	}
}

// TestElsewhere looks beside no other file than the one that is open.
func TestElsewhere(t *testing.T) {
	dir, f := folder(t, map[string]string{"resources/app.asar": "an archive", "other": "another"})
	for _, path := range []string{filepath.Join(dir, "other"), filepath.Join(t.TempDir(), "runtime"), ""} {
		if _, err := Look(f, path); !errors.Is(err, ErrFolder) {
			t.Error(err)
		}
	}
}

// TestSum is another one whenever something beside comes, goes or changes.
func TestSum(t *testing.T) {
	dir, f := folder(t, map[string]string{})
	path := filepath.Join(dir, "runtime")
	seen := map[string]bool{at(t, f, path).Sum(): true}
	step := func(name string, change func() error) {
		t.Helper()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		sum := at(t, f, path).Sum()
		if seen[sum] || sum != at(t, f, path).Sum() {
			t.Errorf("%s: the sum is not another one, or not the same", name)
		}
		seen[sum] = true
	}
	write := func(name, text string) func() error {
		return func() error {
			p := filepath.Join(dir, name)
			return errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o600))
		}
	}
	step("it comes", write("resources/app.asar", "1"))
	step("it grows", write("resources/app.asar", "12"))
	step("a folder comes", write("resources/app/package.json", "{}"))
	step("a file in the folder comes", write("resources/app/main.js", "1"))
	step("a file in the folder grows", write("resources/app/main.js", "12"))
	step("another takes its place", func() error {
		return errors.Join(write("resources/other", "12")(), os.Rename(filepath.Join(dir, "resources/other"), filepath.Join(dir, "resources/app.asar")))
	})
	if p := at(t, f, path); p.Settled(time.Now().Add(-time.Hour)) {
		t.Error("what was written just now is settled")
	}
}

// TestBounds looks at no more of a folder than a part, and always at its manifest.
func TestBounds(t *testing.T) {
	files := map[string]string{"resources/app/package.json": "{}"}
	for i := range maxFiles + 100 {
		files["resources/app/a/"+strings.Repeat("x", i%200+1)+string(rune('a'+i/200))] = "x"
	}
	dir, f := folder(t, files)
	p := at(t, f, filepath.Join(dir, "runtime"))
	if n := len(p.apps[0].parts); n != maxFiles {
		t.Errorf("%d files", n)
	}
	if err := os.Truncate(filepath.Join(dir, "resources/app/a/xa"), maxPacked); err != nil {
		t.Fatal(err)
	}
	p = at(t, f, filepath.Join(dir, "runtime"))
	if err := p.Each(func(_ string, f *os.File) error {
		info, err := f.Stat()
		if err == nil && info.Size() > maxPacked+1<<20 {
			t.Errorf("%d bytes", info.Size())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestFolder is an application where there is a manifest, and none without.
func TestFolder(t *testing.T) {
	dir, _ := folder(t, map[string]string{"app/package.json": "{}", "other/main.js": "code"})
	p, err := Folder(filepath.Join(dir, "app"))
	if err != nil || p == nil {
		t.Fatal(err)
	}
	f, err := p.Packed()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() == 0 {
		t.Error(err)
	}
	for _, name := range []string{"other", "no such"} {
		if p, err := Folder(filepath.Join(dir, name)); err != nil || p != nil {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}
