package file_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/identity/identitytest"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

func openNames(t testing.TB, dir string) *file.Names {
	t.Helper()
	n, err := file.OpenNames(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func id(t testing.TB, n identity.Namer, name string) string {
	t.Helper()
	got, err := n.ID(context.Background(), identity.HandleName, "office", name)
	if err != nil || got == "" {
		t.Fatalf("%q: %q, %v", name, got, err)
	}
	return got
}

func TestNamerSuite(t *testing.T) {
	identitytest.Namer(t, func(t *testing.T) func() (identity.Namer, func()) {
		dir := t.TempDir()
		return func() (identity.Namer, func()) {
			n := openNames(t, dir)
			return n, func() { n.Close() }
		}
	})
}

func TestNamesCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	id(t, openNames(t, dir), "alice@example.org")
	for _, name := range []string{"names.log", "names.key"} {
		path := filepath.Join(dir, "state", name)
		raw, err := os.ReadFile(path)
		if err != nil || bytes.Contains(raw, []byte("alice")) {
			t.Errorf("%s: %q, %v", name, raw, err)
		}
		if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v", name, info.Mode())
		}
	}
}

func TestForget(t *testing.T) {
	dir := t.TempDir()
	n := openNames(t, dir)
	alice, bob := id(t, n, "alice"), id(t, n, "bob")
	before, _ := os.ReadFile(filepath.Join(dir, "state", "names.key"))
	for range 2 {
		if err := n.Forget(identity.HandleName, "office", "alice"); err != nil {
			t.Fatal(err)
		}
	}
	if after, _ := os.ReadFile(filepath.Join(dir, "state", "names.key")); bytes.Equal(before, after) {
		t.Error("the old file can still be read where its bytes are left")
	}
	carol := id(t, n, "carol")
	n.Close()
	n = openNames(t, dir)
	if id(t, n, "bob") != bob || id(t, n, "carol") != carol {
		t.Error("others lost their ids")
	}
	if id(t, n, "alice") == alice {
		t.Error("a forgotten name has its id again")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "state", "*.new")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestForgetInterrupted leaves the files as a crash at each step of forgetting does.
func TestForgetInterrupted(t *testing.T) {
	old, fresh := t.TempDir(), t.TempDir()
	n := openNames(t, old)
	bob := id(t, n, "bob")
	id(t, n, "alice")
	n.Close()
	read := func(dir, name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, "state", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	oldKey, oldLog := read(old, "names.key"), read(old, "names.log")
	n = openNames(t, old)
	if err := n.Forget(identity.HandleName, "office", "alice"); err != nil {
		t.Fatal(err)
	}
	n.Close()
	newKey, newLog := read(old, "names.key"), read(old, "names.log")
	for name, files := range map[string]map[string][]byte{
		"new key made":       {"names.key": oldKey, "names.log": oldLog, "names.key.new": newKey},
		"new log half made":  {"names.key": oldKey, "names.log": oldLog, "names.key.new": newKey, "names.log.new": newLog[:10]},
		"new log made":       {"names.key": oldKey, "names.log": oldLog, "names.key.new": newKey, "names.log.new": newLog},
		"new log in place":   {"names.key": oldKey, "names.log": newLog, "names.key.new": newKey},
		"new key in place":   {"names.key": newKey, "names.log": newLog},
		"new key half made":  {"names.key": oldKey, "names.log": oldLog, "names.key.new": newKey[:7]},
		"new key of another": {"names.key": oldKey, "names.log": oldLog, "names.key.new": bytes.Repeat([]byte{1}, 32)},
	} {
		os.RemoveAll(filepath.Join(fresh, "state"))
		os.Mkdir(filepath.Join(fresh, "state"), 0o700)
		for f, b := range files {
			if err := os.WriteFile(filepath.Join(fresh, "state", f), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			n, err := file.OpenNames(fresh)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if id(t, n, "bob") != bob {
				t.Errorf("%s: bob has another id", name)
			}
			n.Close()
		}
		if left, _ := filepath.Glob(filepath.Join(fresh, "state", "*.new")); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

// TestNamesTorn cuts and damages the file at every byte: ids that were used are never given to another name, and never silently new.
func TestNamesTorn(t *testing.T) {
	dir := t.TempDir()
	n := openNames(t, dir)
	alice, bob := id(t, n, "alice"), id(t, n, "bob")
	path := filepath.Join(dir, "state", "names.log")
	info, _ := os.Stat(path)
	two := int(info.Size())
	id(t, n, "carol")
	n.Close()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(at int, b []byte, mustOpen bool) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := file.OpenNames(dir)
		if err != nil {
			if mustOpen {
				t.Fatalf("byte %d: %v", at, err)
			}
			return
		}
		defer n.Close()
		if !mustOpen {
			t.Fatalf("byte %d: damage was taken for a torn end", at)
		}
		if id(t, n, "alice") != alice || id(t, n, "bob") != bob {
			t.Fatalf("byte %d: a used id is gone", at)
		}
	}
	for i := two; i < len(raw); i += 3 {
		try(i, raw[:i], true)
		try(i, append(append([]byte{}, raw[:i]...), make([]byte, len(raw)-i)...), true) // as a power loss leaves it
	}
	for i := 0; i < two; i += 3 {
		changed := bytes.Clone(raw)
		changed[i] ^= 0x40
		try(i, changed, false)
	}
}

// TestNamesOverwritten: bytes that are none of ours are no torn end, however few: what to do is said, and the file stays as it is.
func TestNamesOverwritten(t *testing.T) {
	dir := t.TempDir()
	n := openNames(t, dir)
	id(t, n, "alice")
	n.Close()
	path := filepath.Join(dir, "state", "names.log")
	if count, err := file.CheckNames(dir); err != nil || count != 1 {
		t.Errorf("a whole one has %d names (%v)", count, err)
	}
	garbage := bytes.Repeat([]byte("\x7fELF binary "), 20)
	if err := os.WriteFile(path, garbage, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := file.OpenNames(dir)
	_, checked := file.CheckNames(dir)
	for _, err := range []error{err, checked} {
		if err == nil || !strings.Contains(err.Error(), path+" is damaged: byte 0: ") || !strings.Contains(err.Error(), "restore it and names.key") {
			t.Errorf("it says %v", err)
		}
	}
	if raw, _ := os.ReadFile(path); !bytes.Equal(raw, garbage) {
		t.Error("the damaged file was changed")
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if count, err := file.CheckNames(dir); err != nil || count != 0 {
		t.Errorf("an empty one has %d names (%v)", count, err)
	}
}

func TestNamesFullDisk(t *testing.T) {
	n := openNames(t, t.TempDir())
	n.Close()
	if _, err := n.ID(t.Context(), identity.HandleName, "office", "new"); err == nil {
		t.Error("an id that was not made durable was given")
	}
}

func FuzzNames(f *testing.F) {
	dir := f.TempDir()
	n := openNames(f, dir)
	for i := range 3 {
		id(f, n, fmt.Sprint("name ", i))
	}
	n.Close()
	path := filepath.Join(dir, "state", "names.log")
	raw, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:len(raw)-1])
	f.Add([]byte{0, 0, 0, 24})
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := file.OpenNames(dir); err == nil {
			id(t, n, "name 1")
			n.Close()
		}
	})
}

func BenchmarkNamesKnown(b *testing.B) {
	n := openNames(b, b.TempDir())
	id(b, n, "alice@example.org")
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			id(b, n, "alice@example.org")
		}
	})
}

func BenchmarkNamesNew(b *testing.B) {
	n := openNames(b, b.TempDir())
	for i := 0; b.Loop(); i++ {
		id(b, n, strings.Repeat("x", 20)+fmt.Sprint(i))
	}
}

// TestNamesKeyLost holds that a lost key is said, and never replaced by a new one under which every name would get another id.
func TestNamesKeyLost(t *testing.T) {
	dir := t.TempDir()
	n, err := file.OpenNames(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.ID(context.Background(), identity.HandleName, "office", "alice@example.org"); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "state", "names.key")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := file.OpenNames(dir); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("a lost key gave %v", err)
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("a new key was made")
	}
}
