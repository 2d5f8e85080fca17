package rescan_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/rescan"
)

var (
	now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	old = now.Add(-time.Hour).UnixNano()
)

func open(t testing.TB, dir, rules string) *rescan.Memory {
	t.Helper()
	m, err := rescan.Open(dir, rules)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func close(t testing.TB, m *rescan.Memory) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestKnowsAgain knows exactly the file that was clean, now and later, by the same rules.
func TestKnowsAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	k := rescan.Key{Dev: 1, Ino: 2, Size: 3, Changed: old}
	m := open(t, dir, "rules 1")
	if m.Known(k) {
		t.Error("known before it was seen")
	}
	m.Clean(k, now)
	recent := rescan.Key{Dev: 1, Ino: 9, Size: 3, Changed: now.Add(-time.Minute).UnixNano()}
	m.Clean(recent, now)
	check := func(m *rescan.Memory) {
		t.Helper()
		if !m.Known(k) {
			t.Error("not known again")
		}
		for _, other := range []rescan.Key{{2, 2, 3, old}, {1, 3, 3, old}, {1, 2, 4, old}, {1, 2, 3, old + 1}, recent, {}} {
			if m.Known(other) {
				t.Errorf("%+v is taken for it", other)
			}
		}
	}
	check(m)
	close(t, m) // without Finish: interrupted
	m = open(t, dir, "rules 1")
	check(m)
	if err := m.Finish([]string{"/a", "/b"}, 7); err != nil {
		t.Fatal(err)
	}
	m.Clean(rescan.Key{Ino: 5}, now)
	close(t, m)
	m = open(t, dir, "rules 1")
	check(m)
	if !m.Known(rescan.Key{Ino: 5}) || m.Expected([]string{"/a", "/b"}) != 7 || m.Expected([]string{"/a"}) != 0 {
		t.Error("what came after the end of a scan, or its count, is lost")
	}
	close(t, m)
	m = open(t, dir, "rules 2")
	if m.Known(k) || m.Expected([]string{"/a", "/b"}) != 0 {
		t.Error("known by other rules")
	}
	close(t, m)
	m = open(t, dir, "rules 1")
	if m.Known(k) {
		t.Error("the state of other rules came back")
	}
	close(t, m)
}

// TestDamage forgets what is damaged, and never takes it for something else.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, "r")
	for i := range uint64(100) {
		m.Clean(rescan.Key{Ino: i, Changed: old}, now)
	}
	close(t, m)
	name := filepath.Join(dir, "scan.state")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 1, 50, len(whole) - 100*16, len(whole) - 7, len(whole) - 16} {
		if err := os.WriteFile(name, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		m := open(t, dir, "r")
		count := 0
		for i := range uint64(100) {
			if m.Known(rescan.Key{Ino: i, Changed: old}) {
				count++
			}
		}
		if want := max(0, (cut-len(whole)+100*16)/16); count != want && cut > 50 {
			t.Errorf("cut at %d of %d: %d known, want %d", cut, len(whole), count, want)
		}
		m.Clean(rescan.Key{Ino: 1000, Changed: old}, now)
		close(t, m)
		m = open(t, dir, "r")
		if !m.Known(rescan.Key{Ino: 1000, Changed: old}) {
			t.Errorf("cut at %d: what came after is lost", cut)
		}
		close(t, m)
	}
}

// TestOthersMayNotWrite refuses state that somebody else could have made.
func TestOthersMayNotWrite(t *testing.T) {
	dir := t.TempDir()
	close(t, open(t, dir, "r"))
	name := filepath.Join(dir, "scan.state")
	for _, bad := range []func() error{
		func() error { return os.Chmod(dir, 0o777) },
		func() error { return errors.Join(os.Chmod(dir, 0o700), os.Chmod(name, 0o666)) },
		func() error { return errors.Join(os.Rename(name, name+"x"), os.Symlink(name+"x", name)) },
	} {
		if err := bad(); err != nil {
			t.Fatal(err)
		}
		if m, err := rescan.Open(dir, "r"); err == nil {
			t.Error("it was taken")
			close(t, m)
		}
	}
}

func FuzzState(f *testing.F) {
	dir := f.TempDir()
	m := open(f, dir, "r")
	m.Clean(rescan.Key{Ino: 1, Changed: old}, now)
	close(f, m)
	b, err := os.ReadFile(filepath.Join(dir, "scan.state"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(bytes.Repeat([]byte("x"), 1<<17))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, "scan.state"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		m := open(t, dir, "r")
		if m.Known(rescan.Key{Ino: 77, Changed: old}) {
			t.Error("a file that was never seen is known")
		}
		close(t, m)
	})
}

func BenchmarkKnown(b *testing.B) {
	m := open(b, b.TempDir(), "r")
	defer m.Close()
	for i := range uint64(100_000) {
		m.Clean(rescan.Key{Ino: i, Changed: old}, now)
	}
	for i := uint64(0); b.Loop(); i++ {
		m.Known(rescan.Key{Ino: i % 100_000, Changed: old})
	}
}
