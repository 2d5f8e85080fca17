package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/health"
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
