package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// TestRenew replaces the file when the new one is whole, and never before.
func TestRenew(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, testKey())
	old := &event.Event{Kind: event.Message, Time: time.Unix(1, 0).UTC(), ID: event.NewID(), Received: time.Unix(1, 0).UTC(), Content: event.Content{Text: "old"}}
	put(t, s, 0, old)
	broken := errors.New("the journal ends early")
	if err := s.Renew(t.Context(), func(archive.Projection) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	if r, err := s.Record(t.Context(), old.ID); err != nil || r.Event.Text != "old" {
		t.Errorf("after a renewal that failed the record is %+v (%v)", r, err)
	}
	lost := archivetest.Entry(0, &event.Event{Kind: event.Message, Time: time.Unix(2, 0).UTC(), ID: event.NewID(), Received: time.Unix(2, 0).UTC()}, false)
	lost.Event, lost.KeyLost = nil, true
	if err := s.Renew(t.Context(), func(p archive.Projection) error { return p.Apply(t.Context(), []archive.Entry{lost}) }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Record(t.Context(), old.ID); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("the old file is still there: %v", err)
	}
	if r, err := s.Record(t.Context(), lost.Header.ID); err != nil || !r.KeyLost || r.Erased {
		t.Errorf("the record without a key is %+v (%v)", r, err)
	}
	if n, err := s.KeysLost(t.Context()); err != nil || n != 1 {
		t.Errorf("%d records without a key (%v)", n, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	aside, err := s.SetAside()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(aside); err != nil {
		t.Error(err)
	}
	if n, err := s.KeysLost(t.Context()); err != nil || n != 0 {
		t.Errorf("%d records in an empty file (%v)", n, err)
	}
	var _ archive.Renewer = (*sqlite.Store)(nil)
}
