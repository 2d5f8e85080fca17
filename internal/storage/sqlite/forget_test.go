package sqlite

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/event"
)

// TestForgottenWordsLeaveTheIndex looks into the full-text table itself: of a destroyed record not one token of its text stays there.
func TestForgottenWordsLeaveTheIndex(t *testing.T) {
	s, err := Open(t.TempDir(), bytes.Repeat([]byte{1}, KeySize), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	at := time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC)
	e := &event.Event{ID: event.NewID(), Kind: event.Message, Time: at, Connector: "office", From: event.Party{ID: "h9", Handle: "eve@example.org", Person: "eve"},
		Content: event.Content{Text: "xylophone " + "common"}}
	other := *e
	other.ID, other.Text = event.NewID(), "common words"
	act := &event.Event{ID: event.NewID(), Kind: event.Act, Time: at, Content: event.Content{Act: &event.ActDetail{Action: archive.ActErase,
		Details: []event.Fact{{Name: archive.DetailRecord, Value: string(e.ID)}}}}}
	tokens := func() map[string]int {
		out := map[string]int{}
		err := s.write(t.Context(), func(c *conn) error {
			if err := c.Exec("CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab('main', 'terms', 'row')"); err != nil {
				return err
			}
			return c.each("SELECT term, doc FROM temp.vocabulary", func(r *sqlite3.Stmt) error {
				out[r.ColumnText(0)] = r.ColumnInt(1)
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if err := s.Apply(t.Context(), []archive.Entry{archivetest.Entry(0, e, false), archivetest.Entry(1, &other, false)}); err != nil {
		t.Fatal(err)
	}
	if got := tokens(); got["xylophone"] != 1 || got["common"] != 2 {
		t.Fatalf("the index holds %v", got)
	}
	if err := s.Apply(t.Context(), []archive.Entry{archivetest.Entry(2, act, false)}); err != nil {
		t.Fatal(err)
	}
	if got := tokens(); got["xylophone"] != 0 || got["common"] != 1 {
		t.Errorf("after it was destroyed the index holds %v", got)
	}
}
