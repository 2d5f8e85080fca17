package search_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/search"
)

var errIndex = errors.New("index is gone")

// breaking gives two records and then fails.
type breaking struct{}

func (breaking) Find(context.Context, *search.Expr, string) iter.Seq2[archive.Selected, error] {
	return func(yield func(archive.Selected, error) bool) {
		for range 2 {
			if !yield(archive.Selected{Record: say("hello")}, nil) {
				return
			}
		}
		yield(archive.Selected{}, errIndex)
	}
}

func (breaking) Count(context.Context, *search.Expr) (int, error) { return 0, errIndex }

// few takes so many acts.
type few struct{ left int }

func (f *few) Record(context.Context, ...*event.Event) error {
	if f.left--; f.left < 0 {
		return errIndex
	}
	return nil
}

func eyes(t *testing.T, acts event.Recorder, veil bool) *archive.View {
	t.Helper()
	roll := pseudonym.New([]byte("k"))
	roll.Handle("alice@example.org", "Alice Meyer", "alice.meyer")
	v, err := archive.New(archive.Driver{}, acts, clock.System{}).WithPseudonyms(roll, veil).Open(t.Context(), archive.Account{Name: "rita", Reads: true}, "case 7")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestAFailingIndexIsNoEnd: who reads a list that breaks off is told, with what was found before; a count that breaks off is none.
func TestAFailingIndexIsNoEnd(t *testing.T) {
	s := search.New(breaking{}, nil)
	for name, veil := range map[string]bool{"plain": false, "veiled": true} {
		v := eyes(t, &few{100}, veil)
		for how, seq := range map[string]iter.Seq2[archive.Selected, error]{"search": s.Search(t.Context(), v, "hello", "", 0), "stored": s.Stored(t.Context(), v, "hello")} {
			n, failed := 0, error(nil)
			for _, err := range seq {
				if failed = err; err == nil {
					n++
				}
			}
			if n != 2 || !errors.Is(failed, errIndex) {
				t.Errorf("%s %s: %d records, then %v", name, how, n, failed)
			}
		}
		n := 0
		for _, err := range s.Search(t.Context(), v, "hello", "", 2) { // who wants two never meets the failure
			if n++; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for range s.Stored(t.Context(), v, "hello") {
			break
		}
		for _, query := range []string{"hello", "from:alice.meyer", "NOT from:alice.meyer"} {
			if got, err := s.Count(t.Context(), v, query); n != 2 || !errors.Is(err, errIndex) || got != 0 {
				t.Errorf("%s: %s counts %d, %v", name, query, got, err)
			}
		}
	}
}

// TestAQueryThatNamesSomebodyWaitsForItsRecord: neither the search nor whom it names may go unrecorded, and a mistake leaves no trace.
func TestAQueryThatNamesSomebodyWaitsForItsRecord(t *testing.T) {
	s := search.New(breaking{}, nil)
	for _, query := range []string{"from:alice.meyer", `"Alice Meyer"`, "hello (x OR to:alice@example.org)", "person:alice.meyer"} {
		for taken := range 2 { // nothing is recorded; the search is, whom it names is not
			v := eyes(t, &few{taken}, true)
			if _, err := s.Count(t.Context(), v, query); !errors.Is(err, errIndex) {
				t.Errorf("%s, %d on record: count gives %v", query, taken, err)
			}
			for _, err := range s.Search(t.Context(), eyes(t, &few{taken}, true), query, "", 0) {
				if !errors.Is(err, errIndex) {
					t.Errorf("%s, %d on record: a record came out (%v)", query, taken, err)
				}
			}
			if got := v.Text("alice.meyer"); !pseudonym.Is(got) {
				t.Errorf("%s, %d on record: she is disclosed: %s", query, taken, got)
			}
		}
	}
	acts := &few{9}
	v := eyes(t, acts, true)
	for _, query := range []string{`"open`, "(", "matter:none", "nofield:x", "a NEAR/x b"} {
		var wrong *search.SyntaxError
		if _, err := s.Count(t.Context(), v, query); !errors.As(err, &wrong) {
			t.Errorf("%s counts with %v", query, err)
		}
		for _, err := range s.Search(t.Context(), v, query, "", 0) {
			if !errors.As(err, &wrong) {
				t.Errorf("%s gives %v", query, err)
			}
		}
	}
	if acts.left != 9 {
		t.Errorf("mistakes left %d acts", 9-acts.left)
	}
}

// TestWhatAHitSays of each plane.
func TestWhatAHitSays(t *testing.T) {
	for want, c := range map[string]event.Content{
		"whatsapp": {Flow: &event.Flow{App: "whatsapp"}}, "signal": {Question: &event.Question{App: "signal"}}, "slack": {Web: &event.Web{App: "slack"}}, "zoom": {Program: &event.Program{App: "zoom"}}, "": {Text: "zoom"},
	} {
		if got := search.HitOf(archive.Record{Event: &event.Event{Content: c}}); got.App != want || got.To == nil {
			t.Errorf("%+v, want %q", got, want)
		}
	}
	if got := search.Summary(&event.Event{Content: event.Content{Subject: "a topic"}}); got != "a topic" {
		t.Errorf("a room's change is %q", got)
	}
}
