package archivetest_test

import (
	"reflect"
	"testing"

	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/event"
)

func TestStoryIsTheSameForASeed(t *testing.T) {
	a, b := archivetest.Story(1, 200), archivetest.Story(1, 200)
	if !reflect.DeepEqual(a, b) {
		t.Error("two tellings differ")
	}
	if reflect.DeepEqual(a, archivetest.Story(2, 200)) {
		t.Error("two seeds tell the same")
	}
	kinds := map[event.Kind]bool{}
	for _, e := range a {
		kinds[e.Header.Kind] = true
	}
	if len(kinds) < 9 {
		t.Errorf("the story knows only %v", kinds)
	}
}

func TestLogErases(t *testing.T) {
	l := archivetest.NewLog()
	if err := l.Record(t.Context(), &event.Event{ID: "1", Kind: event.Message}, &event.Event{ID: "2", Kind: event.Message}); err != nil {
		t.Fatal(err)
	}
	for f, err := range l.Frames(t.Context(), "local", 1) {
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Erase(f.Records[0].Sealed); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Open(f.Records[0].Sealed, []byte("1")); err == nil {
			t.Error("what was erased opens")
		}
		if _, err := l.Open(f.Records[1].Sealed, []byte("2")); err != nil {
			t.Errorf("its neighbour does not open: %v", err)
		}
	}
}
