package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

func testKey() []byte { return bytes.Repeat([]byte{7}, sqlite.KeySize) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t testing.TB, dir string, key []byte) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(dir, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	archivetest.Run(t, func(t *testing.T) archivetest.Subject {
		s := open(t, t.TempDir(), testKey())
		return archivetest.Subject{Projection: s, Driver: archive.Driver{Records: s, Catalogue: s, Counts: s}}
	})
}

// TestNothingReadableAtRest looks for a word of the story in the bytes of the files.
func TestNothingReadableAtRest(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, testKey())
	if err := s.Apply(t.Context(), archivetest.Story(1, 200)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{sqlite.Name, sqlite.Name + "-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"offline", "alice", "SQLite format", "whatsapp"} {
			if bytes.Contains(b, []byte(word)) {
				t.Errorf("%q stands in %s", word, name)
			}
		}
	}
}

// TestUnusableFileIsBuiltAnew opens a file with another key, and a damaged one: both hold nothing that the journal does not.
func TestUnusableFileIsBuiltAnew(t *testing.T) {
	dir := t.TempDir()
	story := archivetest.Story(1, 50)
	fill := func(s *sqlite.Store) {
		t.Helper()
		if p, err := s.Position(t.Context(), "local"); err != nil || p.Sequence != 0 {
			t.Fatalf("begins at %+v (%v)", p, err)
		}
		if err := s.Apply(t.Context(), story); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir, testKey())
	fill(s)
	s.Close()
	s = open(t, dir, bytes.Repeat([]byte{8}, sqlite.KeySize))
	fill(s)
	s.Close()
	if err := os.WriteFile(filepath.Join(dir, sqlite.Name), bytes.Repeat([]byte("x"), 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	fill(open(t, dir, testKey()))
}

func TestLoadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "projections.key")
	a, err := sqlite.LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := sqlite.LoadKey(path)
	if err != nil || !bytes.Equal(a, b) || len(a) != sqlite.KeySize {
		t.Errorf("the second time the key is %x (%v), was %x", b, err, a)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v (%v)", info.Mode(), err)
	}
	if err := os.WriteFile(path, a[:5], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.LoadKey(path); err == nil {
		t.Error("a short key was taken")
	}
}

// TestReadersWhileWriting searches, lists and counts while records are applied and one reader is slow.
func TestReadersWhileWriting(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	story := archivetest.Story(8, 600)
	if err := s.Apply(t.Context(), story[:300]); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 6 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for r, err := range s.Select(t.Context(), archive.Filter{}, "") {
					if err != nil {
						t.Error(err)
						return
					}
					if i == 0 { // a consumer that asks for more meanwhile
						if _, err := s.Referring(t.Context(), r.Event.ID); err != nil {
							t.Error(err)
							return
						}
					}
				}
			}
		})
	}
	for i := 300; i < len(story); i += 50 {
		if err := s.Apply(t.Context(), story[i:i+50]); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
}

func TestClosedAndCancelled(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Apply(ctx, archivetest.Story(1, 50)); !errors.Is(err, context.Canceled) {
		t.Errorf("applying under a context that ended gives %v", err)
	}
	if err := s.Apply(t.Context(), archivetest.Story(1, 50)); err != nil {
		t.Errorf("the next one gives %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Handles(t.Context(), ""); err == nil {
		t.Error("a closed store answers")
	}
	if err := s.Apply(t.Context(), archivetest.Story(1, 50)); err == nil {
		t.Error("a closed store takes records")
	}
}
