package archive_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
)

var errDriver = errors.New("disk is gone")

// failing is a driver of which the n-th answer is an error.
type failing struct {
	full
	left *int
}

func (f failing) fails() error {
	if *f.left--; *f.left == 0 {
		return errDriver
	}
	return nil
}

func (f failing) Record(context.Context, event.ID) (archive.Record, error) {
	if err := f.fails(); err != nil {
		return archive.Record{}, err
	}
	return f.record(), nil
}

func (f failing) Referring(ctx context.Context, id event.ID) ([]archive.Record, error) {
	if err := f.fails(); err != nil {
		return nil, err
	}
	return f.full.Referring(ctx, id)
}

func (f failing) Select(ctx context.Context, filter archive.Filter, cursor string) iter.Seq2[archive.Selected, error] {
	return func(yield func(archive.Selected, error) bool) {
		if err := f.fails(); err != nil {
			yield(archive.Selected{}, err)
			return
		}
		f.full.Select(ctx, filter, cursor)(yield)
	}
}

func (f failing) Conversations(ctx context.Context, who string, p archive.Page) (archive.Part[archive.Conversation], error) {
	if err := f.fails(); err != nil {
		return archive.Part[archive.Conversation]{}, err
	}
	return f.full.Conversations(ctx, who, p)
}

func (f failing) Conversation(ctx context.Context, id string) (archive.Conversation, error) {
	if err := f.fails(); err != nil {
		return archive.Conversation{}, err
	}
	return f.full.Conversation(ctx, id)
}

func (f failing) Handles(ctx context.Context, who string) ([]archive.Handle, error) {
	if err := f.fails(); err != nil {
		return nil, err
	}
	return []archive.Handle{{ID: "h-1", Handle: "alice@example.org", Person: "alice.meyer"}}, nil
}

func (f failing) Hosts(context.Context, string) ([]archive.Host, error) {
	if err := f.fails(); err != nil {
		return nil, err
	}
	return []archive.Host{{ID: "m-1", Name: "laptop-meyer-17", Address: "10.9.8.7", Person: "alice.meyer"}}, nil
}

func (f failing) Sightings(ctx context.Context, s archive.SightingFilter) ([]archive.Sighting, error) {
	if err := f.fails(); err != nil {
		return nil, err
	}
	return f.full.Sightings(ctx, s)
}

func (f failing) Observed(ctx context.Context, o archive.ObservedFilter, cursor string) iter.Seq2[archive.SelectedObservation, error] {
	return func(yield func(archive.SelectedObservation, error) bool) {
		if err := f.fails(); err != nil {
			yield(archive.SelectedObservation{}, err)
			return
		}
		f.full.Observed(ctx, o, cursor)(yield)
	}
}

// TestAFailureOfTheDriverIsNoAnswer: whichever question to the driver fails, the reader is told, and never that there is nothing.
func TestAFailureOfTheDriverIsNoAnswer(t *testing.T) {
	for name := range allReads(context.Background(), nil) {
		failed := 0
		for n := 1; n <= 8; n++ {
			left := n
			d := failing{left: &left}
			v, _ := behindVeil(t, archive.Driver{Records: d, Catalogue: d, Observations: d}, &recorder{})
			err := allReads(t.Context(), v)[name]()
			switch {
			case left > 0 && err != nil:
				t.Errorf("%s: %v, though nothing failed", name, err)
			case left <= 0 && !errors.Is(err, errDriver) && !(name == "message" && n > 1 && n < 101):
				t.Errorf("%s: question %d failed, and the answer is %v", name, n, err) // of a message, what it refers to may be missing
			case left <= 0:
				failed++
			}
		}
		if failed == 0 {
			t.Errorf("%s asks the driver nothing", name)
		}
	}
}

// allReads are the doors of reads, and those that the watched driver cannot have.
func allReads(ctx context.Context, v *archive.View) map[string]func() error {
	out := reads(ctx, v)
	out["observations"] = func() error {
		_, err := v.Observations(ctx, archive.ObservedFilter{App: "x", After: minute(1), Before: minute(2)}, archive.Page{})
		return err
	}
	out["person by another name"] = func() error { _, err := v.Person(ctx, "laptop-meyer-17"); return err }
	return out
}

// forgetful is a recorder that takes acts up to a number.
type forgetful struct{ left int }

func (f *forgetful) Record(context.Context, ...*event.Event) error {
	if f.left--; f.left < 0 {
		return errDriver
	}
	return nil
}

// TestWhatIsNotOnRecordIsNotAnswered: the look is on record, the disclosure of whom the question names is not: no answer, by any door.
func TestWhatIsNotOnRecordIsNotAnswered(t *testing.T) {
	const who = "alice@example.org"
	for name, ask := range map[string]func(context.Context, *archive.View) error{
		"conversations": func(ctx context.Context, v *archive.View) error {
			_, err := v.Conversations(ctx, who, archive.Page{})
			return err
		},
		"events": func(ctx context.Context, v *archive.View) error {
			_, err := v.Events(ctx, archive.Filter{Who: []string{who}}, archive.Page{})
			return err
		},
		"timeline": func(ctx context.Context, v *archive.View) error {
			_, err := v.Timeline(ctx, who, archive.Filter{}, archive.Page{})
			return err
		},
		"person": func(ctx context.Context, v *archive.View) error { _, err := v.Person(ctx, who); return err },
		"hosts":  func(ctx context.Context, v *archive.View) error { _, err := v.Hosts(ctx, who); return err },
		"sightings by host": func(ctx context.Context, v *archive.View) error {
			_, err := v.Sightings(ctx, archive.SightingFilter{Host: who})
			return err
		},
		"sightings by person": func(ctx context.Context, v *archive.View) error {
			_, err := v.Sightings(ctx, archive.SightingFilter{Person: who})
			return err
		},
		"observations": func(ctx context.Context, v *archive.View) error {
			_, err := v.Observations(ctx, archive.ObservedFilter{Host: who}, archive.Page{})
			return err
		},
		"search": func(ctx context.Context, v *archive.View) error {
			if err := v.Look(ctx, "search"); err != nil {
				return err
			}
			return v.NameWithin(ctx, "words of Alice Meyer")
		},
	} {
		v, _ := behindVeil(t, archive.Driver{Records: full{}, Catalogue: full{}, Observations: full{}}, &forgetful{left: 1})
		if err := ask(t.Context(), v); !errors.Is(err, errDriver) {
			t.Errorf("%s: %v", name, err)
		}
		if got := v.Text("alice.meyer"); !pseudonym.Is(got) {
			t.Errorf("%s: she is disclosed and that is not on record: %s", name, got)
		}
	}
}

// TestAPurposeDisclosesOnlySoMany: who names everybody, one after the other, has to say anew why.
func TestAPurposeDisclosesOnlySoMany(t *testing.T) {
	roll, r := pseudonym.New([]byte("k")), &recorder{}
	v, err := archive.New(archive.Driver{}, r, clock.System{}).WithPseudonyms(roll, true).Open(t.Context(), archive.Account{Name: "rita", Reads: true}, "curious")
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range 1100 {
		id := fmt.Sprintf("somebody%d", i)
		if _, err := v.Disclose(t.Context(), roll.Of(pseudonym.OfPerson(id), id), ""); err != nil {
			refused++
		}
	}
	if refused != 100 || len(disclosures(r)) != 1000 || pseudonym.Is(v.Text("x")) {
		t.Errorf("%d were refused, %d are on record", refused, len(disclosures(r)))
	}
	if _, err := v.Disclose(t.Context(), roll.Of(pseudonym.OfPerson("somebody5"), ""), ""); err != nil || len(disclosures(r)) != 1000 {
		t.Errorf("one that is known: %v", err)
	}
	if _, err := v.Disclose(t.Context(), roll.Of(pseudonym.OfPerson("somebody5"), ""), strings.Repeat("x", 1001)); err == nil {
		t.Error("an endless purpose was taken")
	}
}

// TestAViewForgetsItsLooksAndRecordsThemAgain: what it remembers is bounded, and beyond that there are more acts, never fewer.
func TestAViewForgetsItsLooksAndRecordsThemAgain(t *testing.T) {
	r := &recorder{}
	v := view(t, r)
	for i := range 1500 {
		if err := v.Look(t.Context(), fmt.Sprint("thing ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Look(t.Context(), "thing 0"); err != nil || len(r.acts) != 1501 {
		t.Errorf("%d acts (%v)", len(r.acts), err)
	}
	if v.Account().Name != "rita" || v.Purpose() != "case 7" {
		t.Errorf("the view is of %+v for %q", v.Account(), v.Purpose())
	}
}

// TestAQuestionIsNotChanged by being asked, and is on record with all that it asks for.
func TestAQuestionIsNotChanged(t *testing.T) {
	ask := func() archive.Filter {
		return archive.Filter{Who: []string{"a", "a", "b"}, Rules: []string{"r", "r", "s"}, Apps: []string{"x", "x", "y"}, Acts: []string{"c", "c", "d"}, Connectors: []string{"o", "o", "p"},
			Rooms: []string{"m", "m", "n"}, Kinds: []event.Kind{event.Message, event.Message, event.Edit}, Actions: []event.Action{event.Block, event.Block, event.Hold},
			Conversation: "room:7", After: minute(1), Before: minute(2)}
	}
	f, r := ask(), &recorder{}
	if _, err := view(t, r).Events(t.Context(), f, archive.Page{}); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f, ask()) {
		t.Errorf("it became %+v", f)
	}
	want := `events kind=["message" "edit"] who=["a" "b"] verdict=["block" "hold"] rule=["r" "s"] app=["x" "y"] act=["c" "d"] connector=["o" "p"] room=["m" "n"] conversation=["room:7"] ` +
		`after=["2026-03-01T09:01:00Z"] before=["2026-03-01T09:02:00Z"] `
	if got := r.acts[0].Act.Object; got != want {
		t.Errorf("on record: %s\nwant       %s", got, want)
	}
}

// TestDestroyed: only acts that destroy destroy, and only what they name as a record.
func TestDestroyed(t *testing.T) {
	details := []event.Fact{{Name: archive.DetailRecord, Value: "1"}, {Name: "reason", Value: "2"}, {Name: archive.DetailRecord, Value: "3"}}
	for _, c := range []struct {
		kind   event.Kind
		action string
		want   []event.ID
	}{
		{event.Act, archive.ActErase, []event.ID{"1", "3"}}, {event.Act, archive.ActDispose, []event.ID{"1", "3"}},
		{event.Act, archive.ActDisposed, nil}, {event.Act, archive.ActRead, nil}, {event.Act, "", nil}, {event.Message, archive.ActErase, nil},
	} {
		e := &event.Event{Kind: c.kind, Content: event.Content{Act: &event.ActDetail{Action: c.action, Details: details}}}
		if got := archive.Destroyed(e); !slices.Equal(got, c.want) {
			t.Errorf("%s %s destroys %v, want %v", c.kind, c.action, got, c.want)
		}
	}
	if got := archive.Destroyed(&event.Event{Kind: event.Act, Phase: archive.ActErase}); got != nil {
		t.Errorf("an act without detail destroys %v", got)
	}
}

// TestWhatWasObserved says which messenger and how much traffic an observation of each kind is.
func TestWhatWasObserved(t *testing.T) {
	for name, c := range map[string]struct {
		content       event.Content
		app           string
		packets, size int64
	}{
		"flow":     {event.Content{Flow: &event.Flow{App: "signal", Packets: 3, Bytes: 400}}, "signal", 3, 400},
		"question": {event.Content{Question: &event.Question{App: "telegram"}}, "telegram", 0, 0},
		"request":  {event.Content{Web: &event.Web{App: "slack"}}, "slack", 0, 0},
		"program":  {event.Content{Program: &event.Program{App: "zoom", Size: 9}}, "zoom", 0, 0},
		"nothing":  {event.Content{Text: "x"}, "", 0, 0},
	} {
		o := archive.Observed{Event: &event.Event{Time: minute(59).In(time.FixedZone("", 5400)), Content: c.content}}
		packets, size := o.Traffic()
		if o.Event.App() != c.app || packets != c.packets || size != c.size || !o.Hour().Equal(minute(0)) {
			t.Errorf("%s: %q, %d packets, %d bytes, hour %v", name, o.Event.App(), packets, size, o.Hour())
		}
	}
}

// numbered has so many observations, each with its number as its cursor.
type numbered struct {
	full
	n     int
	asked archive.ObservedFilter
}

func (o *numbered) Observed(_ context.Context, f archive.ObservedFilter, cursor string) iter.Seq2[archive.SelectedObservation, error] {
	o.asked = f
	return func(yield func(archive.SelectedObservation, error) bool) {
		from := 0
		if cursor != "" {
			if _, err := fmt.Sscan(cursor, &from); err != nil {
				yield(archive.SelectedObservation{}, archive.ErrCursor)
				return
			}
		}
		for i := from + 1; i <= o.n; i++ {
			if !yield(archive.SelectedObservation{Cursor: fmt.Sprint(i), Observed: archive.Observed{Event: &event.Event{}, Times: int64(i)}}, nil) {
				return
			}
		}
	}
}

// TestObservationsInParts gives each once, whatever the size of a part, and asks for what a pseudonym stands for.
func TestObservationsInParts(t *testing.T) {
	for _, size := range []int{1, 3, 7, 8} {
		o := &numbered{n: 7}
		v, roll := behindVeil(t, archive.Driver{Observations: o}, &recorder{})
		var got []int64
		page := archive.Page{Limit: size}
		f := archive.ObservedFilter{Host: roll.Of(pseudonym.OfHost("laptop-meyer-17"), "")}
		for rounds := 0; rounds < 9; rounds++ {
			part, err := v.Observations(t.Context(), f, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range part.Items {
				got = append(got, i.Times)
			}
			if page.Cursor = part.Next; page.Cursor == "" {
				break
			}
		}
		if !slices.Equal(got, []int64{1, 2, 3, 4, 5, 6, 7}) || o.asked.Host != "laptop-meyer-17" {
			t.Errorf("in parts of %d: %v of %q", size, got, o.asked.Host)
		}
	}
	v, _ := behindVeil(t, archive.Driver{}, &recorder{})
	if part, err := v.Observations(t.Context(), archive.ObservedFilter{}, archive.Page{}); err != nil || len(part.Items) != 0 {
		t.Errorf("where none are kept: %v, %v", part, err)
	}
	if hours, err := archive.New(archive.Driver{}, nil, clock.System{}).Hours(t.Context(), minute(0), minute(1)); err != nil || hours != nil {
		t.Errorf("hours where none are kept: %v, %v", hours, err)
	}
}

// TestEnrolFails where the names cannot be read: an archive whose roll knows half of them would show the other half.
func TestEnrolFails(t *testing.T) {
	for n := 1; n <= 2; n++ {
		left := n
		a := archive.New(archive.Driver{Catalogue: failing{left: &left}}, &recorder{}, clock.System{})
		if err := a.Enrol(t.Context(), pseudonym.New([]byte("k"))); !errors.Is(err, errDriver) {
			t.Errorf("question %d: %v", n, err)
		}
	}
}
