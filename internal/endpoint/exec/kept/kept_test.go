package kept

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

var here = IDOf("boot", 7, wire.Key{Ino: 1})

func open(t *testing.T, path string, id ID) *Store {
	t.Helper()
	s, err := Open(path, id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// written keeps two files.
func written(t *testing.T) (path string, keys []wire.Key) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "kept")
	keys = []wire.Key{{Dev: 1, Ino: 2, Size: 3, Changed: 4}, {Dev: 1, Ino: 5, Size: 1 << 40, Changed: -6}}
	s := open(t, path, here)
	for _, k := range slices.Backward(keys) {
		s.Add(here, k)
		s.Add(here, k)
	}
	if err := s.Write(); err != nil {
		t.Fatal(err)
	}
	return path, keys
}

func TestKept(t *testing.T) {
	path, keys := written(t)
	if got := open(t, path, here).Keys(); !slices.Equal(got, keys) {
		t.Errorf("%+v", got)
	}
	for what, id := range map[string]ID{"another start of the machine": IDOf("another", 7, wire.Key{Ino: 1}), "another policy": IDOf("boot", 8, wire.Key{Ino: 1}),
		"another binary": IDOf("boot", 7, wire.Key{Ino: 1, Changed: 1})} {
		if got := open(t, path, id).Keys(); len(got) > 0 {
			t.Errorf("%s: %+v", what, got)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestAnotherPolicy forgets what was allowed under the last, and takes nothing that comes late.
func TestAnotherPolicy(t *testing.T) {
	path, _ := written(t)
	s, next := open(t, path, here), IDOf("boot", 8, wire.Key{Ino: 1})
	s.Renew(here)
	if len(s.Keys()) != 2 {
		t.Error("the same policy is another")
	}
	s.Renew(next)
	s.Add(here, wire.Key{Ino: 9})
	if err := s.Write(); err != nil || len(s.Keys()) > 0 {
		t.Error(err, s.Keys())
	}
	for _, id := range []ID{here, next} {
		if got := open(t, path, id).Keys(); len(got) > 0 {
			t.Errorf("%+v", got)
		}
	}
}

// TestDamaged takes nothing of a file that is cut off, changed, too large, or that others could have written.
func TestDamaged(t *testing.T) {
	path, _ := written(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := [][]byte{{}, whole[:len(whole)-1], whole[:len(whole)-entrySize], append(slices.Clone(whole), make([]byte, entrySize)...), make([]byte, maxSize+entrySize)}
	for i := range whole {
		b := slices.Clone(whole)
		b[i] ^= 4
		bad = append(bad, b)
	}
	for i, b := range bad {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(path, here); err == nil || len(s.Keys()) > 0 {
			t.Errorf("%d: %+v, %v", i, s.Keys(), err)
		}
	}
	if err := errors.Join(os.WriteFile(path, whole, 0o600), os.Chmod(path, 0o620)); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(path, here); !errors.Is(err, ErrFile) || len(s.Keys()) > 0 {
		t.Errorf("%+v, %v", s.Keys(), err)
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, 1000, 1000)); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(path, here); !errors.Is(err, ErrFile) || len(s.Keys()) > 0 {
			t.Errorf("%+v, %v", s.Keys(), err)
		}
	}
	if err := errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, here); err == nil {
		t.Error("a pipe was taken")
	}
}

// TestBound begins anew when there is no room.
func TestBound(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "kept"), here)
	for i := range uint64(Most + 1) {
		s.Add(here, wire.Key{Ino: i})
	}
	if got := s.Keys(); !slices.Equal(got, []wire.Key{{Ino: Most}}) {
		t.Errorf("%d kept", len(got))
	}
}

// TestNoRoom tries to write again what could not be written.
func TestNoRoom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	s := open(t, filepath.Join(dir, "kept"), here)
	s.Add(here, wire.Key{Ino: 1})
	if s.Write() == nil {
		t.Fatal("written into no folder")
	}
	if err := errors.Join(os.Mkdir(dir, 0o700), s.Write()); err != nil || len(open(t, filepath.Join(dir, "kept"), here).Keys()) != 1 {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	path := filepath.Join(f.TempDir(), "kept")
	s, _ := Open(path, here)
	s.Add(here, wire.Key{Ino: 1})
	_ = s.Write()
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, keys, err := parse(b); err == nil && len(keys)*entrySize > len(b) {
			t.Errorf("%d keys of %d bytes", len(keys), len(b))
		}
	})
}
