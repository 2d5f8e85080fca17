package event_test

import (
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
)

func TestExcludedComesBack(t *testing.T) {
	want := []event.Excluded{{Day: "2026-03-01", Reason: event.ReasonDuplicate, N: 7}, {Day: "2026-03-02", Reason: "two words", N: 1}, {Day: "2026-03-02", N: 2}}
	e := event.NewCaptureCount("office", "desk@rooms.example.org", want...)
	e.Room.ID = "r1"
	h, content, err := e.Split(event.NewSalt())
	if err != nil {
		t.Fatal(err)
	}
	back, err := event.Assemble(h, content)
	if err != nil {
		t.Fatal(err)
	}
	if got := event.ExcludedIn(back); !slices.Equal(got, want) || back.Connector != "office" || h.Room != "r1" || h.Phase != event.CaptureCount {
		t.Errorf("got %+v of %+v", got, back)
	}
}

func TestWhatIsNoCountIsLeftOut(t *testing.T) {
	for _, d := range []event.Fact{{}, {Name: "2026-03-01 x"}, {Name: "2026-03-01 x", Value: "0"}, {Name: "2026-03-01 x", Value: "-1"}, {Name: "2026-03-01 x", Value: "1e3"},
		{Name: "yesterday x", Value: "1"}, {Name: "2026-13-01 x", Value: "1"}, {Name: "2026-03-01 x", Value: "18446744073709551615"}, {Name: "2026-03-01 x", Value: "99999999999999999999"}} {
		e := event.NewCaptureCount("office", "")
		e.Act.Details = []event.Fact{d}
		if got := event.ExcludedIn(e); len(got) != 0 {
			t.Errorf("%+v is read as %+v", d, got)
		}
	}
	other := event.NewCaptureCount("office", "", event.Excluded{Day: "2026-03-01", Reason: "x", N: 1})
	other.Act.Action = "content.read"
	for _, e := range []*event.Event{other, {Kind: event.Act}, {Kind: event.Message, Content: event.Content{Act: event.NewCaptureCount("", "", event.Excluded{Day: "2026-03-01", N: 1}).Act}}} {
		if got := event.ExcludedIn(e); len(got) != 0 {
			t.Errorf("%+v gives %+v", e, got)
		}
	}
}
