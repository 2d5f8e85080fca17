package sqlite_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/search"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// page reads at most n records of a query behind a cursor.
func page(t *testing.T, s *sqlite.Store, query, cursor string, n int) (ids []event.ID, next string) {
	t.Helper()
	e, err := search.Parse(query)
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range s.Find(t.Context(), e, cursor) {
		if err != nil {
			t.Fatal(err)
		}
		if ids, next = append(ids, r.Event.ID), r.Cursor; len(ids) == n {
			break
		}
	}
	return ids, next
}

// TestPagesStandStillWhileRecordsCome: who reads a list in parts sees each record that was there once, in order, whatever is added meanwhile,
// before, among and behind them.
func TestPagesStandStillWhileRecordsCome(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	var old []*event.Event
	for i := range 120 {
		old = append(old, direct(day(2, 0).Add(time.Duration(i/3)*time.Second), "alice", "bob", "word old"))
	}
	put(t, s, 1, old...)
	want, _ := page(t, s, "word old", "", 1000)
	if len(want) != len(old) {
		t.Fatalf("%d of %d are found", len(want), len(old))
	}
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for i := range 200 { // more would only make the pages longer
			select {
			case <-stop:
				return
			default:
			}
			at := day(2, 0).Add(time.Duration(i%60-10) * time.Second)
			put(t, s, 1000+i, direct(at, "carol", "bob", "word new"))
		}
	})
	for _, size := range []int{1, 7, 50} {
		var got []event.ID
		cursor := ""
		for {
			ids, next := page(t, s, "word", cursor, size)
			if len(ids) == 0 {
				break
			}
			for _, id := range ids {
				for _, w := range want {
					if id == w {
						got = append(got, id)
					}
				}
			}
			cursor = next
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("in parts of %d: %d of %d records, or another order", size, len(got), len(want))
		}
	}
	close(stop)
	group.Wait()
}

// TestDamagedPages overwrites pages of the closed file: it is built anew, or answers with an error, or as before; never wrongly. After a
// reset everything is as it was.
func TestDamagedPages(t *testing.T) {
	story := archivetest.Story(5, 200)
	whole := t.TempDir()
	s, err := sqlite.Open(whole, testKey(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), story); err != nil {
		t.Fatal(err)
	}
	want := ids(t, s, "")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(whole, sqlite.Name))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at += len(good)/16 + 1 {
		dir := t.TempDir()
		bad := append([]byte{}, good...)
		for i := at; i < min(at+64, len(bad)); i++ {
			bad[i] ^= 0x5a
		}
		if err := os.WriteFile(filepath.Join(dir, sqlite.Name), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		damaged(t, dir, at, story, want)
	}
}

func damaged(t *testing.T, dir string, at int, story []archive.Entry, want []event.ID) {
	s := open(t, dir, testKey())
	e, err := search.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	var got []event.ID
	failed := false
	for r, err := range s.Find(t.Context(), e, "") {
		if failed = err != nil; failed {
			break
		}
		got = append(got, r.Event.ID)
	}
	if !failed && len(got) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("damaged at %d it answers with %d of %d records and no error", at, len(got), len(want))
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Fatalf("damaged at %d it cannot be reset: %v", at, err)
	}
	if err := s.Apply(t.Context(), story); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, s, ""); !reflect.DeepEqual(got, want) {
		t.Errorf("damaged at %d, after a reset: %d of %d records", at, len(got), len(want))
	}
}

// TestRebuiltAnswersAreTheSame asks every query before and after the file is lost.
func TestRebuiltAnswersAreTheSame(t *testing.T) {
	story := archivetest.Story(8, 260)
	answers := func(s *sqlite.Store) map[string][]event.ID {
		out := map[string][]event.ID{}
		for _, q := range append(queries(), languageQueries()...) {
			out[q] = ids(t, s, q)
		}
		return out
	}
	dir := t.TempDir()
	s, err := sqlite.Open(dir, testKey(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(story); i += 37 {
		if err := s.Apply(t.Context(), story[i:min(i+37, len(story))]); err != nil {
			t.Fatal(err)
		}
	}
	want := answers(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	other := open(t, dir, testKey())
	if err := other.Apply(t.Context(), story); err != nil {
		t.Fatal(err)
	}
	if got := answers(other); !reflect.DeepEqual(got, want) {
		t.Error("answers differ after the file was lost and the whole was applied at once")
	}
}

// TestCountsThatActsBring: an act that counts what was excluded is added up once, by connector, room and day, however often it is recorded.
func TestCountsThatActsBring(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	in := func(room string, counts ...event.Excluded) *event.Event {
		e := event.NewCaptureCount("office", "", counts...)
		e.Time, e.Received, e.Room.ID = day(3, 9), day(3, 9), room
		return e
	}
	act := in("r1", event.Excluded{Day: "2026-05-02", Reason: "duplicate", N: 3}, event.Excluded{Day: "2026-05-03", Reason: "duplicate", N: 1})
	put(t, s, 1, act, in("", event.Excluded{Day: "2026-05-02", Reason: "not-recorded", N: 5}), in("r1", event.Excluded{Day: "2026-05-02", Reason: "duplicate", N: 4}))
	put(t, s, 10, act) // its answer was lost
	got, err := s.Captures(t.Context(), day(1, 0), day(9, 0))
	if err != nil {
		t.Fatal(err)
	}
	none := map[string]int{}
	want := []archive.Capture{
		{Day: "2026-05-02", Connector: "office", Excluded: map[string]int{"not-recorded": 5}, Quarantined: none},
		{Day: "2026-05-02", Connector: "office", Room: "r1", Excluded: map[string]int{"duplicate": 7}, Quarantined: none},
		{Day: "2026-05-03", Connector: "office", Room: "r1", Excluded: map[string]int{"duplicate": 1}, Quarantined: none},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// TestWhereFilesAreNamed: a file is known by the headers of all records that name it, also of those whose content is gone, and of copies.
func TestWhereFilesAreNamed(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	names := func(kind event.Kind, objects ...string) *event.Event {
		e := direct(day(4, 1), "alice", "bob", "here it is")
		e.ID = event.NewID()
		e.Kind = kind
		for _, o := range objects {
			e.Files = append(e.Files, event.File{Name: "x", Object: o, Sealed: "00"})
		}
		return e
	}
	upload, message := names(event.FileUpload, "o1"), names(event.Message, "o1", "o2")
	at := func(n int, e *event.Event, erased bool) archive.Entry { return archivetest.Entry(n, e, erased) }
	entries := []archive.Entry{at(0, upload, true), at(1, message, false), at(2, upload, false)}
	if err := s.Apply(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	places := func(i ...int) map[journal.Position]bool {
		out := map[journal.Position]bool{}
		for _, i := range i {
			out[entries[i].Position] = true
		}
		return out
	}
	for name, want := range map[string]map[journal.Position]bool{"o1": places(0, 1, 2), "o2": places(1), "o3": places(), "": places(), "' OR 1=1 --": places()} {
		list, err := s.Bringing(t.Context(), name)
		got := map[journal.Position]bool{}
		for _, p := range list {
			got[p] = true
		}
		if err != nil || !reflect.DeepEqual(got, want) || len(list) != len(want) {
			t.Errorf("%q is named at %v (%v), want %v", name, list, err, want)
		}
	}
	for id, want := range map[event.ID]int{upload.ID: 2, message.ID: 1, "none": 0} {
		if list, err := s.Places(t.Context(), id); err != nil || len(list) != want {
			t.Errorf("%s is at %v (%v), want %d", id, list, err, want)
		}
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Bringing(t.Context(), "o1"); err != nil || len(list) != 0 {
		t.Error(fmt.Sprint("after a reset: ", list, err))
	}
}
