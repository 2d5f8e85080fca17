package server_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/shortfall"
)

// remove removes what lies in a house.
func (h *house) remove(names ...string) {
	h.t.Helper()
	for _, n := range names {
		if err := os.RemoveAll(h.path(n)); err != nil {
			h.t.Fatal(err)
		}
	}
}

// keep copies what lies in a house; what it returns puts it back, whole.
func (h *house) keep(names ...string) (restore func()) {
	h.t.Helper()
	aside := h.t.TempDir()
	for _, n := range names {
		if err := os.CopyFS(filepath.Join(aside, n), os.DirFS(h.path(n))); err != nil {
			h.t.Fatal(err)
		}
	}
	return func() {
		h.remove(names...)
		for _, n := range names {
			if err := os.CopyFS(h.path(n), os.DirFS(filepath.Join(aside, n))); err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

// TestTheRecordIsGone removes journal and ledger together: whatever still knows of them, nothing begins a new record in their place.
func TestTheRecordIsGone(t *testing.T) {
	for name, tt := range map[string]struct {
		recipient bool
		gone      []string
	}{
		"a recipient acknowledged it":   {true, []string{"data/projections"}},
		"the search index knows of it":  {false, []string{"data/state/checkpoints.json", "data/state/rolls.json"}},
		"only the recipient's is known": {true, []string{"data/projections", "data/state/rolls.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, text := newHouse(t, filepath.Join(t.TempDir(), "h"), ""), ""
			if tt.recipient {
				text = "ledger: {checkpoints: [\"file:" + t.TempDir() + "\"]}\n"
			}
			h.configure(text)
			h.record(wrote(time.Now(), "alice", "words"), wrote(time.Now(), "bob", "words"))
			if s, _ := h.open(); s.Close() != nil { // brings the index up with what is on record
				t.Fatal("it does not close")
			}
			h.remove(append(tt.gone, "data/journal", "data/ledger")...)
			_, err := server.OpenStore(t.Context(), h.cfg, nil, health.NewBoard(time.Now), slog.New(slog.DiscardHandler))
			if !errors.Is(err, shortfall.ErrLost) || !strings.Contains(err.Error(), "restore the data directory from its backup") {
				t.Fatalf("it opens a new record: %v", err)
			}
			if _, err := os.Stat(h.path("data/projections/archive.db")); !tt.recipient && err != nil {
				t.Error("the search index did not stay:", err)
			}
			if _, err := os.Stat(h.path("data/journal")); tt.recipient && err == nil {
				t.Error("a new journal was made")
			}
		})
	}
}

// TestAShorterRecord puts an older journal and ledger back: it is said, it goes on record, and what the index knows is kept.
func TestAShorterRecord(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "ledger: {checkpoints: [\"file:"+t.TempDir()+"\"]}\n")
	h.record(wrote(time.Now(), "alice", "words"))
	restore, whole := h.keep("data/journal", "data/ledger"), h.keep("data")
	h.record(wrote(time.Now(), "alice", "later words"))
	h.record(wrote(time.Now(), "alice", "last words"))
	if s, _ := h.open(); s.Close() != nil { // brings the index up with what is on record
		t.Fatal("it does not close")
	}
	restore()
	s, board := h.open()
	item := itemOf(board, shortfall.Item)
	if item.State != health.Failed || !strings.Contains(item.Detail, "shorter than it was") || !strings.Contains(item.Advice, "restore journal/") {
		t.Errorf("health says %+v", item)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.path("data/projections/archive.db.unusable")); err != nil {
		t.Error("what the index knew is gone:", err)
	}
	whole() // a data directory that was restored whole knows nothing: the folder does
	h.serve()
	until(t, "health says what the folder knows", func() bool {
		return strings.Contains(h.must("health", struct{}{}), "shorter than it was")
	})
	if h.acts(shortfall.Act) == 0 {
		t.Error("it is not on record")
	}
}

// TestWhatIsWholeIsNotShort: neither a fresh house nor one that serves again is told that something is missing.
func TestWhatIsWholeIsNotShort(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "ledger: {checkpoints: [\"file:"+t.TempDir()+"\"]}\n")
	for range 3 {
		s, board := h.open()
		if state := board.State(shortfall.Item); state != "" {
			t.Errorf("health says %s", state)
		}
		s.Start(t.Context())
		if err := errors.Join(s.Recorder.Record(t.Context(), wrote(time.Now(), "alice", "words")), s.Close()); err != nil {
			t.Fatal(err)
		}
		if known, err := ledger.Known(h.path("data")); err != nil || known.Leaves == 0 {
			t.Fatalf("nothing is known: %+v (%v)", known, err)
		}
	}
}
