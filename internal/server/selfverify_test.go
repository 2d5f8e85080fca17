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
)

// TestSelfVerificationFindsOneByte: within one turn, on the board and on record; before, the same store is well.
func TestSelfVerificationFindsOneByte(t *testing.T) {
	at := free(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "metrics: {listen: '"+at+"'}\nledger: {verify_every: 500ms}\n")
	h.record(wrote(time.Now().UTC(), "alice", "hello"))
	h.serve()
	until(t, "the record is verified", func() bool {
		i := state(t, at, "verification")
		return i.State == health.OK && strings.Contains(i.Detail, "CONSISTENT")
	})
	if h.acts("verify.self") == 0 {
		t.Error("the turn is not on record")
	}
	tiles, err := filepath.Glob(h.path("data/ledger/tile/entries/000*"))
	if err != nil || len(tiles) == 0 {
		t.Fatalf("%v, %v", tiles, err)
	}
	flip(t, tiles[0])
	until(t, "the flipped byte is said", func() bool {
		i := state(t, at, "verification")
		return i.State == health.Failed && strings.Contains(i.Detail, "BROKEN") && i.Advice != ""
	})
}

// TestStartFindsChangedTiles: a byte changed in the newest entries, or in the hashes of them, keeps the store from opening.
func TestStartFindsChangedTiles(t *testing.T) {
	for _, tiles := range []string{"entries", "0"} {
		h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
		h.record(wrote(time.Now().UTC(), "alice", "hello"))
		h.record(wrote(time.Now().UTC(), "alice", "again"))
		found, err := filepath.Glob(h.path("data/ledger/tile/" + tiles + "/000*"))
		if err != nil || len(found) == 0 {
			t.Fatalf("%v, %v", found, err)
		}
		flip(t, found[0])
		rules, err := server.LoadRules(h.cfg)
		if err != nil {
			t.Fatal(err)
		}
		s, err := server.OpenStore(t.Context(), h.cfg, rules.Class, health.NewBoard(time.Now), slog.New(slog.DiscardHandler))
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, ledger.ErrDiverged) || !strings.Contains(err.Error(), "chaperone verify") {
			t.Errorf("%s: %v", tiles, err)
		}
	}
}

// flip changes one byte in the middle of a file, or of a file below a folder.
func flip(t *testing.T, path string) {
	t.Helper()
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		below, err := filepath.Glob(filepath.Join(path, "*"))
		if err != nil || len(below) == 0 {
			t.Fatal(path, err)
		}
		for _, p := range below {
			flip(t, p)
		}
		return
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}
