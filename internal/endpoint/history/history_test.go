package history_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/history"
)

func index(t testing.TB) *history.Index {
	t.Helper()
	c, err := catalog.Load(fstest.MapFS{"apps/pigeon.yaml": {Data: []byte(`id: pigeon
name: Pigeon
sources: ["vendor, 2026-11"]
history:
  windows: [AppData/Roaming/Pigeon/*/main.db]
  macos: [Library/Application Support/Pigeon]
  linux: [.pigeon/*/main.db, {path: .config/Pigeon/loft, source: "vendor, 2026-10"}]
`)}})
	if err != nil {
		t.Fatal(err)
	}
	return history.New(c)
}

func TestMatch(t *testing.T) {
	x := index(t)
	for path, want := range map[string]bool{
		"/home/a/.pigeon/someone/main.db":                       true,
		"/mnt/backup/home/a/.pigeon/someone/main.db":            true,
		"/home/a/.pigeon/main.db":                               false, // nobody's
		"/home/a/.pigeon/x/y/main.db":                           false,
		"/home/a/.Pigeon/someone/main.db":                       false, // this system tells cases apart
		"/home/a/.config/Pigeon/loft":                           true,
		"/home/a/.config/Pigeon/loft/egg":                       false,
		"/media/C/Users/A/AppData/Roaming/Pigeon/me/main.db":    true,
		"/media/C/USERS/A/APPDATA/ROAMING/PIGEON/ME/MAIN.DB":    true,
		"/media/mac/Users/a/Library/Application Support/Pigeon": true,
		"/.config/Pigeon/loft":                                  false, // no home folder
		"/home/a/config/Pigeon/loft":                            false,
		"":                                                      false,
		"/":                                                     false,
		"main.db":                                               false,
		"/home/a/\xff/.config/Pigeon/loft":                      true,
		"/home/a/.config/Pigeon/loft" + strings.Repeat("/x", 10_000): false,
	} {
		place, ok := x.Match(path)
		if ok != want {
			t.Errorf("%q: %v", path, ok)
		}
		if ok && (place.App != "pigeon" || place.Path != path || !strings.HasPrefix(place.Evidence.Fact, "history:") || place.Evidence.Strength.Float() > 0.5) {
			t.Errorf("%q: %+v", path, place)
		}
	}
}

func FuzzMatch(f *testing.F) {
	x := index(f)
	f.Add("/home/a/.pigeon/someone/main.db")
	f.Add("//*/..")
	f.Fuzz(func(t *testing.T, path string) {
		if place, ok := x.Match(path); ok && place.Path != path {
			t.Errorf("%q became %q", path, place.Path)
		}
	})
}

func write(t *testing.T, path, body string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(body), 0o600)); err != nil {
		t.Fatal(err)
	}
	when := time.Date(2020, 1, len(body), 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

func TestLocate(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	write(t, filepath.Join(a, ".pigeon/one/main.db"), "1")
	write(t, filepath.Join(a, ".pigeon/two/main.db"), "2")
	write(t, filepath.Join(b, ".config/Pigeon/loft/egg"), "3")
	if err := errors.Join(os.Symlink(filepath.Join(a, ".pigeon/one"), filepath.Join(a, ".pigeon/link")), os.MkdirAll(filepath.Join(b, ".pigeon/three/main.db"), 0o755)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range index(t).Locate("pigeon", []string{a, b, a, filepath.Join(a, "none")}) {
		got = append(got, strings.TrimPrefix(strings.TrimPrefix(p.Path, a), b))
	}
	if want := "/.pigeon/one/main.db /.pigeon/two/main.db /.pigeon/three/main.db /.config/Pigeon/loft"; strings.Join(got, " ") != want {
		t.Errorf("got %q", got)
	}
	if found := index(t).Locate("other", []string{a}); found != nil {
		t.Errorf("%v", found)
	}
}

func TestDescribe(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "s/b"), "bb")
	write(t, filepath.Join(dir, "s/a/deep"), "dddd")
	if err := errors.Join(os.Symlink("/etc/passwd", filepath.Join(dir, "s/link"))); err != nil {
		t.Fatal(err)
	}
	d, err := history.Describe(context.Background(), filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	sum := func(s string) string {
		h := sha256.Sum256([]byte(s))
		return hex.EncodeToString(h[:])
	}
	at := func(day int) int64 { return time.Date(2020, 1, day, 0, 0, 0, 0, time.UTC).UnixNano() }
	list := fmt.Sprintf("a/deep\t4\t%d\t%s\nb\t2\t%d\t%s\n", at(4), sum("dddd"), at(2), sum("bb"))
	if !d.Folder || d.Files != 2 || d.Size != 6 || d.SHA256 != sum(list) || !d.Whole || d.First.UnixNano() != at(2) || d.Last.UnixNano() != at(4) || d.Unread != 0 {
		t.Errorf("%+v, want the digest of\n%s", d, list)
	}
	one, err := history.Describe(context.Background(), filepath.Join(dir, "s/b"))
	if err != nil || one.Folder || one.SHA256 != sum("bb") || one.Files != 1 || one.UID != uint32(os.Getuid()) || one.Ino == 0 {
		t.Errorf("%+v, %v", one, err)
	}
	again, err := history.Describe(context.Background(), filepath.Join(dir, "s"))
	if err != nil || again != d {
		t.Errorf("%+v, then %+v: %v", d, again, err)
	}
	for _, path := range []string{filepath.Join(dir, "s/link"), filepath.Join(dir, "none"), os.DevNull} {
		if _, err := history.Describe(context.Background(), path); err == nil {
			t.Errorf("%s was described", path)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := history.Describe(ctx, filepath.Join(dir, "s")); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}

// TestDescribeDeep ends at folders within folders.
func TestDescribeDeep(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, strings.Repeat("d/", 80)), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := history.Describe(context.Background(), dir); !errors.Is(err, history.ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

func TestHomes(t *testing.T) {
	homes := history.Homes()
	seen := map[string]bool{}
	for _, h := range homes {
		if !filepath.IsAbs(h) || h == "/" || seen[h] {
			t.Errorf("home %q among %q", h, homes)
		}
		seen[h] = true
	}
}

func BenchmarkMatch(b *testing.B) {
	x := index(b)
	for b.Loop() {
		x.Match("/usr/share/doc/some-package/copyright")
	}
}
