package object_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/storage/object"
)

func open(t testing.TB, limit int64) (*object.Store, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := object.Open(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func put(t testing.TB, s *object.Store, content []byte) *event.File {
	t.Helper()
	f := &event.File{Name: "report.pdf"}
	if err := s.Put(t.Context(), f, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	return f
}

func get(s *object.Store, f *event.File) ([]byte, error) {
	r, err := s.Get(context.Background(), f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func pathOf(dir string, f *event.File) string {
	return filepath.Join(dir, "objects", f.Object[:2], f.Object)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return b
}

func TestPutAndGet(t *testing.T) {
	s, dir := open(t, 0)
	for _, n := range []int{0, 1, 1000, 65535, 65536, 65537, 131072, 131073, 300_000} {
		content := random(n)
		f := put(t, s, content)
		got, err := get(s, f)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d bytes: %d came back, %v", n, len(got), err)
		}
		sealed, err := os.ReadFile(pathOf(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		if f.Sealed != event.Digest(sealed) || f.SHA256 != event.Digest(content) || f.Size != int64(n) {
			t.Errorf("%d bytes: the file says %+v", n, f)
		}
		if n >= 1000 && bytes.Contains(sealed, content[100:132]) {
			t.Errorf("%d bytes: the content is readable", n)
		}
	}
}

func TestSameContentHasNothingInCommon(t *testing.T) {
	s, _ := open(t, 0)
	a, b := put(t, s, random(1000)), put(t, s, random(1000))
	if a.Object == b.Object || a.Sealed == b.Sealed || bytes.Equal(a.Key, b.Key) {
		t.Error("two files of the same content can be told to be so")
	}
	if _, err := get(s, &event.File{Object: a.Object, Key: b.Key}); !errors.Is(err, object.ErrDamaged) {
		t.Errorf("another file's key: %v", err)
	}
}

// TestDamage changes, cuts, extends and reorders the sealed bytes: nothing that was not sealed comes out, and the end is never taken as
// whole.
func TestDamage(t *testing.T) {
	const chunk = 65536 + 16
	content := random(200_000)
	for name, change := range map[string]func(b []byte) []byte{
		"empty":             func(b []byte) []byte { return nil },
		"only the magic":    func(b []byte) []byte { return b[:4] },
		"other magic":       func(b []byte) []byte { b[0]++; return b },
		"first chunk":       func(b []byte) []byte { b[100]++; return b },
		"last byte":         func(b []byte) []byte { b[len(b)-1]++; return b },
		"cut in a chunk":    func(b []byte) []byte { return b[:len(b)-1] },
		"cut at a chunk":    func(b []byte) []byte { return b[:4+chunk] },
		"cut at two chunks": func(b []byte) []byte { return b[:4+2*chunk] },
		"extended":          func(b []byte) []byte { return append(b, 0) },
		"last chunk twice":  func(b []byte) []byte { return append(b, b[4+3*chunk:]...) },
		"chunks exchanged": func(b []byte) []byte {
			return append(append(append(append([]byte{}, b[:4]...), b[4+chunk:4+2*chunk]...), b[4:4+chunk]...), b[4+2*chunk:]...)
		},
		"a chunk left out": func(b []byte) []byte { return append(append([]byte{}, b[:4+chunk]...), b[4+2*chunk:]...) },
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := open(t, 0)
			f := put(t, s, content)
			sealed, err := os.ReadFile(pathOf(dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(pathOf(dir, f), change(sealed), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := get(s, f)
			if !errors.Is(err, object.ErrDamaged) {
				t.Errorf("%d bytes and %v", len(got), err)
			}
			if !bytes.HasPrefix(content, got) {
				t.Error("bytes came out that were not sealed there")
			}
		})
	}
}

func TestNothingStaysOfAFailedPut(t *testing.T) {
	broken := errors.New("the client went away")
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		r    io.Reader
		want error
	}{
		"broken source":   {t.Context(), io.MultiReader(bytes.NewReader(random(100_000)), iotest.ErrReader(broken)), broken},
		"too large":       {t.Context(), bytes.NewReader(random(200_001)), journal.ErrTooLarge},
		"context at end":  {gone, bytes.NewReader(random(10)), context.Canceled},
		"endless source":  {t.Context(), endless{}, journal.ErrTooLarge},
		"broken at start": {t.Context(), iotest.ErrReader(broken), broken},
	} {
		s, dir := open(t, 200_000)
		f := &event.File{}
		if err := s.Put(c.ctx, f, c.r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if f.Object != "" || f.Key != nil {
			t.Errorf("%s: the file says %+v", name, f)
		}
		left, err := os.ReadDir(filepath.Join(dir, "objects"))
		if err != nil || len(left) > 0 {
			t.Errorf("%s: %d files are left, %v", name, len(left), err)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestSweepTakesOnlyWhatIsUnfinished(t *testing.T) {
	s, dir := open(t, 0)
	f := put(t, s, random(10))
	stale := filepath.Join(dir, "objects", ".new-0123")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Error("an unfinished file is still there")
	}
	if _, err := get(s, f); err != nil {
		t.Error(err)
	}
}

func TestDelete(t *testing.T) {
	s, _ := open(t, 0)
	f, other := put(t, s, random(10)), put(t, s, random(10))
	for range 2 {
		if err := s.Delete(t.Context(), f.Object); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := get(s, f); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("after deletion: %v", err)
	}
	if _, err := get(s, other); err != nil {
		t.Error(err)
	}
}

func TestNamesCannotLeaveTheFolder(t *testing.T) {
	s, _ := open(t, 0)
	for _, name := range []string{"", "a", "..", "../../etc/passwd", "../0123456789abcdef0123456789abcde", "0123456789ABCDEF0123456789ABCDEF", "/etc/passwd"} {
		if _, err := s.Get(t.Context(), &event.File{Object: name, Key: make([]byte, 32)}); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
		if err := s.Delete(t.Context(), name); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("deleting %q: %v", name, err)
		}
	}
	f := put(t, s, nil)
	f.Key = f.Key[:5]
	if _, err := s.Get(t.Context(), f); err == nil {
		t.Error("a short key was taken")
	}
}

// FuzzGet puts any bytes in an object's place: only what was sealed comes out.
func FuzzGet(f *testing.F) {
	s, dir := open(f, 0)
	content := random(70_000)
	file := put(f, s, content)
	sealed, err := os.ReadFile(pathOf(dir, file))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:4+65536+16])
	f.Add([]byte("CSO1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(pathOf(dir, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := get(s, file)
		if err == nil && !bytes.Equal(b, sealed) || !bytes.HasPrefix(content, got) {
			t.Errorf("%d bytes came out of %d, %v", len(got), len(b), err)
		}
	})
}

func BenchmarkPut(b *testing.B) {
	s, _ := open(b, 0)
	content := random(1 << 20)
	b.SetBytes(1 << 20)
	for b.Loop() {
		if f := put(b, s, content); f.SHA256 == "" {
			b.Fatal("not kept")
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s, _ := open(b, 0)
	f := put(b, s, random(1<<20))
	b.SetBytes(1 << 20)
	for b.Loop() {
		got, err := get(s, f)
		if sum := sha256.Sum256(got); err != nil || hex.EncodeToString(sum[:]) != f.SHA256 {
			b.Fatal(err)
		}
	}
}
