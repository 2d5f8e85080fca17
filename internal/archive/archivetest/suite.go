package archivetest

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// Subject is what the suite tests: a projection, and what can be asked of it.
type Subject struct {
	Projection archive.Projection
	Driver     archive.Driver
}

// Run tests a driver. New returns an empty one each time.
func Run(t *testing.T, newSubject func(t *testing.T) Subject) {
	t.Run("applying again changes nothing", func(t *testing.T) { idempotent(t, newSubject) })
	t.Run("batches of any size give the same", func(t *testing.T) { batches(t, newSubject) })
	t.Run("reset and applied again gives the same", func(t *testing.T) { rebuilt(t, newSubject) })
	t.Run("a list in parts is the whole list", func(t *testing.T) { parts(t, newSubject) })
	t.Run("what referred stays with what it refers to", func(t *testing.T) { referring(t, newSubject) })
	t.Run("seen is stored, excluded and quarantined", func(t *testing.T) { adds(t, newSubject) })
	t.Run("what was destroyed is forgotten", func(t *testing.T) { forgets(t, newSubject) })
}

// picture is all that a driver answers.
type picture struct {
	Records       []archive.Record
	Conversations []archive.Conversation
	Handles       []archive.Handle
	Hosts         []archive.Host
	Sightings     []archive.Sighting
	Verdicts      []archive.DayCount
	Captures      []archive.Capture
	Apps          []archive.AppCount
	Position      journal.Position
}

func everyKind() []event.Kind {
	return []event.Kind{event.Message, event.Edit, event.Retraction, event.Reaction, event.FileUpload, event.Delivery, event.FlowSeen, event.FindingHit, event.VerdictSet, event.Act}
}

func look(t *testing.T, s Subject) picture {
	t.Helper()
	ctx := t.Context()
	var p picture
	var err error
	check := func(what string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	p.Records = list(t, s, archive.Filter{Kinds: everyKind()})
	var talks archive.Part[archive.Conversation]
	talks, err = s.Driver.Catalogue.Conversations(ctx, "", archive.Page{Limit: archive.MaxLimit})
	check("conversations")
	p.Conversations = talks.Items
	p.Handles, err = s.Driver.Catalogue.Handles(ctx, "")
	check("handles")
	p.Hosts, err = s.Driver.Catalogue.Hosts(ctx, "")
	check("hosts")
	p.Sightings, err = s.Driver.Catalogue.Sightings(ctx, archive.SightingFilter{})
	check("sightings")
	from, to := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	p.Verdicts, err = s.Driver.Counts.Verdicts(ctx, from, to)
	check("verdicts")
	p.Captures, err = s.Driver.Counts.Captures(ctx, from, to)
	check("captures")
	p.Apps, err = s.Driver.Counts.Apps(ctx)
	check("apps")
	p.Position, err = s.Projection.Position(ctx, journal.Local)
	check("position")
	return p
}

func list(t *testing.T, s Subject, f archive.Filter) []archive.Record {
	t.Helper()
	var out []archive.Record
	for r, err := range s.Driver.Records.Select(t.Context(), f, "") {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r.Record)
	}
	return out
}

func apply(t *testing.T, s Subject, entries []archive.Entry) {
	t.Helper()
	if err := s.Projection.Apply(context.WithoutCancel(t.Context()), entries); err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, got, want picture) {
	t.Helper()
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		if !reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s differ:\n got %+v\nwant %+v", g.Type().Field(i).Name, g.Field(i), w.Field(i))
		}
	}
}

func idempotent(t *testing.T, newSubject func(t *testing.T) Subject) {
	s, story := newSubject(t), Story(1, 220)
	apply(t, s, story)
	want := look(t, s)
	apply(t, s, story)
	apply(t, s, story[100:160])
	same(t, look(t, s), want)
}

func batches(t *testing.T, newSubject func(t *testing.T) Subject) {
	story := Story(2, 220)
	whole := newSubject(t)
	apply(t, whole, story)
	want := look(t, whole)
	for _, size := range []int{5, 13, 150} {
		s := newSubject(t)
		for i := 0; i < len(story); i += size {
			apply(t, s, story[i:min(i+size, len(story))])
		}
		same(t, look(t, s), want)
	}
}

func rebuilt(t *testing.T, newSubject func(t *testing.T) Subject) {
	s, story := newSubject(t), Story(3, 220)
	apply(t, s, story)
	want := look(t, s)
	if err := s.Projection.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := look(t, s); len(p.Records)+len(p.Conversations)+len(p.Handles)+len(p.Hosts)+len(p.Sightings) != 0 || p.Position.Sequence != 0 {
		t.Fatalf("after reset there is still %+v", p)
	}
	apply(t, s, story)
	same(t, look(t, s), want)
}

func parts(t *testing.T, newSubject func(t *testing.T) Subject) {
	s := newSubject(t)
	apply(t, s, Story(4, 300))
	for _, f := range []archive.Filter{{}, {Kinds: everyKind()}, {Who: []string{"alice"}}, {OldestFirst: true}, {Kinds: everyKind(), OldestFirst: true},
		{Conversation: "room:r1"}, {Actions: []event.Action{event.Block}}, {Apps: []string{"whatsapp"}}} {
		want := list(t, s, f)
		if len(want) == 0 {
			t.Fatalf("%+v: nothing to test with", f)
		}
		inOrder(t, f, want)
		var got []archive.Record
		cursor := ""
		for {
			n := 0
			for r, err := range s.Driver.Records.Select(t.Context(), f, cursor) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, r.Record)
				cursor = r.Cursor
				if n++; n == 7 {
					break
				}
			}
			if n < 7 {
				break
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: %d records in parts, %d at once", f, len(got), len(want))
		}
	}
	for _, err := range s.Driver.Records.Select(t.Context(), archive.Filter{}, "not a cursor") {
		if err == nil {
			t.Error("a cursor that is none was taken")
		}
	}
}

func inOrder(t *testing.T, f archive.Filter, records []archive.Record) {
	t.Helper()
	for i := 1; i < len(records); i++ {
		a, b := records[i-1].Event, records[i].Event
		if f.OldestFirst {
			a, b = b, a
		}
		if a.Time.Before(b.Time) || a.Time.Equal(b.Time) && a.ID < b.ID {
			t.Fatalf("%+v: %s %s stands before %s %s", f, a.Time, a.ID, b.Time, b.ID)
		}
	}
}

func referring(t *testing.T, newSubject func(t *testing.T) Subject) {
	s, story := newSubject(t), Story(5, 220)
	apply(t, s, story)
	root := map[event.ID]event.ID{}
	want := map[event.ID]int{}
	for _, e := range story {
		if r := e.Header.Refers; r != "" {
			if above, ok := root[r]; ok {
				r = above
			}
			root[e.Header.ID] = r
			want[r]++
		}
	}
	for id, n := range want {
		got, err := s.Driver.Records.Referring(t.Context(), id)
		if err != nil || len(got) != n {
			t.Fatalf("%s: %d records refer to it (%v), want %d", id, len(got), err, n)
		}
	}
}

func adds(t *testing.T, newSubject func(t *testing.T) Subject) {
	s, story := newSubject(t), Story(6, 220)
	again := story[0] // the same event comes in twice
	again.Position = journal.Position{Stream: journal.Local, Sequence: 1 << 20, Record: 1}
	apply(t, s, append(story, again))
	want := 1
	for _, e := range story {
		switch e.Header.Kind {
		case event.Message, event.Edit, event.Retraction, event.Reaction, event.FileUpload:
			want++
		}
	}
	got, duplicates := 0, 0
	for _, c := range look(t, s).Captures {
		got += c.Seen()
		duplicates += c.Excluded[event.ReasonDuplicate]
	}
	if got != want || duplicates != 1 {
		t.Errorf("seen %d with %d duplicates, want %d with 1", got, duplicates, want)
	}
}

func forgets(t *testing.T, newSubject func(t *testing.T) Subject) {
	s := newSubject(t)
	at := time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC)
	secret := &event.Event{ID: event.NewID(), Kind: event.Message, Time: at, Connector: "office", From: event.Party{ID: "h9", Handle: "eve@example.org", Person: "eve"},
		To: []event.Party{{ID: "h0", Handle: "alice@example.org"}}, Verdict: event.Verdict{Action: event.Allow, Rule: "otherwise"}, Content: event.Content{Text: "a secret word"}}
	other := *secret
	other.ID, other.Text, other.From = event.NewID(), "another word", event.Party{ID: "h0", Handle: "alice@example.org"}
	act := &event.Event{ID: event.NewID(), Kind: event.Act, Time: at, Content: event.Content{Act: &event.ActDetail{Action: archive.ActErase,
		Details: []event.Fact{{Name: archive.DetailRecord, Value: string(secret.ID)}}}}}
	apply(t, s, []archive.Entry{Entry(0, secret, false), Entry(1, &other, false), Entry(2, act, false)})
	r, err := s.Driver.Records.Record(t.Context(), secret.ID)
	if err != nil || !r.Erased || r.Event.Text != "" || r.Event.From.Handle != "" || r.Event.From.ID != "h9" {
		t.Errorf("after it was destroyed the record is %+v %+v (%v)", r, r.Event, err)
	}
	if handles, err := s.Driver.Catalogue.Handles(t.Context(), "eve"); err != nil || len(handles) != 0 {
		t.Errorf("the handle is still known: %+v (%v)", handles, err)
	}
	if got := list(t, s, archive.Filter{Who: []string{"eve"}}); len(got) != 0 {
		t.Errorf("%d records are still found", len(got))
	}
	if r, err := s.Driver.Records.Record(t.Context(), other.ID); err != nil || r.Erased || r.Event.Text != "another word" {
		t.Errorf("its neighbour is %+v (%v)", r, err)
	}
}
