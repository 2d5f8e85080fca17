package shortfall_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/server/shortfall"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

func TestAgainst(t *testing.T) {
	known := ledger.Reach{By: "file:/outside", Leaves: 5, Time: time.Date(2026, 11, 25, 20, 0, 0, 0, time.UTC)}
	for _, tt := range []struct {
		known  ledger.Reach
		frames uint64
		what   string
		lost   bool
	}{
		{ledger.Reach{}, 0, "", false},
		{known, 5, "", false},
		{known, 6, "", false},
		{known, 4, "the journal holds 4 frames, and the newest checkpoint that file:/outside acknowledged (2026-11-25T20:00:00Z) covers 5 frames", false},
		{ledger.Reach{By: "state/rolls.json", Leaves: 9}, 1, "state/rolls.json knows of 9 frames", false},
		{known, 0, "", true},
	} {
		what, err := shortfall.Against(tt.known, tt.frames)
		if !strings.Contains(what, tt.what) || (what == "") != (tt.what == "") || errors.Is(err, shortfall.ErrLost) != tt.lost {
			t.Errorf("%+v against %d: %q, %v", tt.known, tt.frames, what, err)
		}
	}
}

func TestGoneAndLook(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look := func() error {
		_, err := shortfall.Look(dir, file.OpenReader(dir))
		if gone := shortfall.Gone(dir); errors.Is(gone, shortfall.ErrLost) != errors.Is(err, shortfall.ErrLost) {
			t.Errorf("one says %v, the other %v", gone, err)
		}
		return err
	}
	if err := look(); err != nil {
		t.Errorf("a new data directory: %v", err)
	}
	write("state/checkpoints.json", "{")
	if err := look(); err != nil {
		t.Errorf("a damaged memory is for the ledger to say: %v", err)
	}
	write("state/checkpoints.json", `{"file:/outside":{"leaves":5,"time":"2026-11-25T20:00:00Z"}}`)
	if err := look(); !errors.Is(err, shortfall.ErrLost) || !strings.Contains(err.Error(), "file:/outside") || !strings.Contains(err.Error(), "covers 5 frames") {
		t.Errorf("a record that is gone: %v", err)
	}
	write("journal/local/00000000000000000001.seg", "")
	if err := look(); !errors.Is(err, shortfall.ErrLost) {
		t.Errorf("an empty segment: %v", err)
	}
}
