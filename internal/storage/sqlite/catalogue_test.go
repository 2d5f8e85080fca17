package sqlite_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// day is a moment of the days that these tests are about.
func day(d, hour int) time.Time { return time.Date(2026, 5, d, hour, 0, 0, 0, time.UTC) }

func handle(name string) event.Party {
	return event.Party{ID: "h-" + name, Handle: name + "@example.org", Person: name}
}

// put applies events one after another.
func put(t *testing.T, s *sqlite.Store, from int, events ...*event.Event) {
	t.Helper()
	var entries []archive.Entry
	for i, e := range events {
		if e.ID == "" {
			e.ID = event.NewID()
		}
		if e.Received.IsZero() {
			e.Received = e.Time
		}
		entries = append(entries, archivetest.Entry(from+i, e, false))
	}
	if err := s.Apply(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

func direct(at time.Time, from, to, text string) *event.Event {
	return &event.Event{Kind: event.Message, Time: at, Connector: "office", From: handle(from), To: []event.Party{handle(to)},
		Verdict: event.Verdict{Action: event.Allow, Rule: "otherwise"}, Content: event.Content{Text: text}}
}

func inRoom(at time.Time, from, room string) *event.Event {
	e := direct(at, from, "nobody", "hello")
	e.To, e.Room = nil, event.Room{ID: "r-" + room, Name: room + "@rooms.example.org"}
	return e
}

func TestConversations(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	blocked := inRoom(day(3, 9), "carol", "desk")
	blocked.Verdict.Action = event.Block
	put(t, s, 0, direct(day(1, 9), "alice", "bob", "one"), direct(day(1, 10), "bob", "alice", "two"), inRoom(day(2, 9), "alice", "desk"), blocked, inRoom(day(1, 8), "dave", "board"))
	part, err := s.Conversations(t.Context(), "", archive.Page{})
	if err != nil {
		t.Fatal(err)
	}
	want := []archive.Conversation{
		{ID: "room:r-desk", Connector: "office", Room: "desk@rooms.example.org", First: day(2, 9), Last: day(3, 9), Messages: 2, Stopped: 1},
		{ID: "direct:h-alice+h-bob", Connector: "office", Handles: []string{"alice@example.org", "bob@example.org"}, First: day(1, 9), Last: day(1, 10), Messages: 2},
		{ID: "room:r-board", Connector: "office", Room: "board@rooms.example.org", First: day(1, 8), Last: day(1, 8), Messages: 1},
	}
	if !reflect.DeepEqual(part.Items, want) || part.Next != "" {
		t.Errorf("got  %+v\nwant %+v", part.Items, want)
	}
	for who, n := range map[string]int{"alice": 2, "ALICE@example.org": 2, "h-alice": 2, "carol": 1, "desk@rooms.example.org": 1, "room:r-board": 1, "nobody": 0} {
		part, err := s.Conversations(t.Context(), who, archive.Page{})
		if err != nil || len(part.Items) != n {
			t.Errorf("%s: %d conversations (%v), want %d", who, len(part.Items), err, n)
		}
	}
	one, err := s.Conversation(t.Context(), want[1].ID)
	if err != nil || !reflect.DeepEqual(one, want[1]) {
		t.Errorf("one is %+v (%v)", one, err)
	}
	if _, err := s.Conversation(t.Context(), "room:none"); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("none is %v", err)
	}
	for _, err := range s.Select(t.Context(), archive.Filter{Conversation: "room:none"}, "") {
		if !errors.Is(err, archive.ErrNotFound) {
			t.Errorf("records of none: %v", err)
		}
	}
}

func TestConversationsInParts(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	var events []*event.Event
	for i := range 23 {
		events = append(events, inRoom(day(1, 9), "alice", fmt.Sprint("room", i))) // all of one moment
	}
	put(t, s, 0, events...)
	seen := map[string]bool{}
	page := archive.Page{Limit: 5}
	for rounds := 0; ; rounds++ {
		part, err := s.Conversations(t.Context(), "", page)
		if err != nil || rounds > 5 {
			t.Fatalf("round %d: %v", rounds, err)
		}
		for _, c := range part.Items {
			if seen[c.ID] {
				t.Errorf("%s twice", c.ID)
			}
			seen[c.ID] = true
		}
		if page.Cursor = part.Next; page.Cursor == "" {
			break
		}
	}
	if len(seen) != 23 {
		t.Errorf("%d conversations in parts", len(seen))
	}
	for _, cursor := range []string{"x", "1", "1.x", "x.1"} {
		if _, err := s.Conversations(t.Context(), "", archive.Page{Cursor: cursor}); err == nil {
			t.Errorf("cursor %q was taken", cursor)
		}
	}
}

// seen makes a record of a messenger on a machine.
func seen(at time.Time, app, host, person string, program bool, action event.Action) *event.Event {
	e := &event.Event{Kind: event.FlowSeen, Time: at, Connector: "border", Host: event.Host{ID: "m-" + host, Name: host, Person: person},
		Verdict: event.Verdict{Action: action, Rule: "rule-" + string(action)}, Content: event.Content{Flow: &event.Flow{App: app, Confidence: event.Medium}}}
	if program {
		e.Kind, e.Connector = event.FindingHit, "agent"
		e.Content = event.Content{Program: &event.Program{App: app, Confidence: event.Exact}}
	}
	return e
}

func TestSightings(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	put(t, s, 0, seen(day(1, 9), "whatsapp", "laptop-1", "alice", false, event.Block), seen(day(3, 9), "whatsapp", "laptop-1", "alice", true, event.Allow),
		seen(day(2, 9), "whatsapp", "laptop-1", "alice", false, event.Block), // comes late
		seen(day(2, 9), "whatsapp", "laptop-2", "", false, event.Block), seen(day(1, 9), "signal", "laptop-2", "", true, event.Quarantine), seen(day(9, 9), "", "laptop-3", "", false, event.Allow))
	all, err := s.Sightings(t.Context(), archive.SightingFilter{})
	if err != nil || len(all) != 3 {
		t.Fatalf("sightings are %+v (%v)", all, err)
	}
	want := archive.Sighting{App: "whatsapp", Host: archive.Host{ID: "m-laptop-1", Name: "laptop-1", Person: "alice"}, Person: "alice", Network: 2, Endpoint: 1,
		First: day(1, 9), Last: day(3, 9), Confidence: event.Exact, Action: event.Allow, Rule: "rule-allow"}
	if !reflect.DeepEqual(all[0], want) {
		t.Errorf("got  %+v\nwant %+v", all[0], want)
	}
	for _, c := range []struct {
		f archive.SightingFilter
		n int
	}{{archive.SightingFilter{App: "whatsapp"}, 2}, {archive.SightingFilter{Host: "LAPTOP-2"}, 2}, {archive.SightingFilter{Host: "m-laptop-1"}, 1}, {archive.SightingFilter{Person: "Alice"}, 1},
		{archive.SightingFilter{App: "signal", Host: "laptop-1"}, 0}} {
		if got, err := s.Sightings(t.Context(), c.f); err != nil || len(got) != c.n {
			t.Errorf("%+v: %d (%v), want %d", c.f, len(got), err, c.n)
		}
	}
	apps, err := s.Apps(t.Context())
	wantApps := []archive.AppCount{{App: "whatsapp", Hosts: 2, People: 1, Records: 4, Blocked: 1, First: day(1, 9), Last: day(3, 9)},
		{App: "signal", Hosts: 1, Records: 1, Blocked: 1, First: day(1, 9), Last: day(1, 9)}}
	if err != nil || !reflect.DeepEqual(apps, wantApps) {
		t.Errorf("got  %+v (%v)\nwant %+v", apps, err, wantApps)
	}
	hosts, err := s.Hosts(t.Context(), "alice")
	if err != nil || len(hosts) != 1 || hosts[0].Records != 3 || !hosts[0].Last.Equal(day(3, 9)) {
		t.Errorf("hosts are %+v (%v)", hosts, err)
	}
}

// TestLatestVerdictOfASighting comes from the latest record, in whatever order records come.
func TestLatestVerdictOfASighting(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	put(t, s, 0, seen(day(5, 9), "signal", "x", "", false, event.Allow))
	put(t, s, 7, seen(day(1, 9), "signal", "x", "", false, event.Block))
	got, err := s.Sightings(t.Context(), archive.SightingFilter{})
	if err != nil || len(got) != 1 || got[0].Action != event.Allow || !got[0].First.Equal(day(1, 9)) {
		t.Errorf("sighting is %+v (%v)", got, err)
	}
}

func TestVerdictsByDay(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	block := direct(day(2, 23), "alice", "bob", "x")
	block.Verdict.Action = event.Block
	old := direct(day(1, 9).AddDate(-9, 0, 0), "alice", "bob", "from an export")
	old.Source, old.Received = event.SourceImport, day(2, 9)
	wrong := direct(day(9, 9), "alice", "bob", "by a clock that runs ahead")
	wrong.Received = day(2, 9)
	put(t, s, 0, direct(day(1, 9), "alice", "bob", "x"), direct(day(2, 0), "alice", "bob", "x"), block, old, wrong)
	count := func(from, to time.Time) map[string]int {
		t.Helper()
		list, err := s.Verdicts(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]int{}
		for _, d := range list {
			out[d.Day+" "+string(d.Action)] += d.Records
		}
		return out
	}
	if got := count(day(1, 0), day(3, 0)); !reflect.DeepEqual(got, map[string]int{"2026-05-01 allow": 1, "2026-05-02 allow": 2, "2026-05-02 block": 1}) {
		t.Errorf("two days: %v", got)
	}
	if got := count(day(2, 0), day(2, 1)); got["2026-05-01 allow"] != 0 || got["2026-05-02 allow"] != 2 {
		t.Errorf("a part of a day: %v", got)
	}
	if got := count(day(1, 0).AddDate(-10, 0, 0), day(1, 0)); got["2017-05-01 allow"] != 1 || len(got) != 1 {
		t.Errorf("the export's day: %v", got)
	}
}

// TestCapturesAddUp is law 3: each event seen is stored, excluded or quarantined, by connector, room and day.
func TestCapturesAddUp(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	late, held, again := inRoom(day(1, 10), "alice", "desk"), inRoom(day(1, 11), "alice", "desk"), inRoom(day(1, 12), "alice", "desk")
	late.Reason = event.ReasonLate
	held.Verdict = event.Verdict{Action: event.Quarantine, Rule: "venue"}
	again.Reason = event.ReasonDuplicate
	put(t, s, 0, inRoom(day(1, 9), "alice", "desk"), late, held, again, direct(day(1, 9), "alice", "bob", "x"), seen(day(1, 9), "signal", "x", "", false, event.Block))
	got, err := s.Captures(t.Context(), day(1, 0), day(2, 0))
	want := []archive.Capture{
		{Day: "2026-05-01", Connector: "office", Room: "", Stored: 1, Excluded: map[string]int{}, Quarantined: map[string]int{}},
		{Day: "2026-05-01", Connector: "office", Room: "r-desk", Stored: 1, Excluded: map[string]int{event.ReasonDuplicate: 1}, Quarantined: map[string]int{event.ReasonLate: 1, "venue": 1}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v (%v)\nwant %+v", got, err, want)
	}
	if got[1].Seen() != 4 {
		t.Errorf("seen %d", got[1].Seen())
	}
}

// TestLaterVerdict changes what is in force, what it is found by, and not what was decided first.
func TestLaterVerdict(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	e := direct(day(1, 9), "alice", "bob", "between us")
	put(t, s, 0, e)
	put(t, s, 7, &event.Event{Kind: event.VerdictSet, Time: day(1, 10), Connector: "review", Refers: e.ID, Verdict: event.Verdict{Action: event.Quarantine, Rule: "reviewer"}},
		&event.Event{Kind: event.VerdictSet, Time: day(1, 11), Connector: "review", Refers: "unknown", Verdict: event.Verdict{Action: event.Block}},
		&event.Event{Kind: event.VerdictSet, Time: day(1, 12), Connector: "review", Refers: e.ID})
	r, err := s.Record(t.Context(), e.ID)
	if err != nil || r.Action != event.Quarantine || r.Rule != "reviewer" || r.Event.Verdict.Action != event.Allow {
		t.Errorf("the record is %+v (%v)", r, err)
	}
	for q, n := range map[string]int{"between verdict:quarantine": 1, "between verdict:allow": 0, "between rule:reviewer": 1, "rule:otherwise": 0, "between": 1} {
		if got := ids(t, s, q); len(got) != n {
			t.Errorf("%s finds %d, want %d", q, len(got), n)
		}
	}
}

// TestWhatIsNotKept leaves raw bytes and the keys of files in the journal.
func TestWhatIsNotKept(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	e := direct(day(1, 9), "alice", "bob", "see file")
	e.Raw = []byte("<message/>")
	e.Files = []event.File{{Name: "a.pdf", Key: []byte("secret"), Size: 7, Object: "o"}, {Name: string([]byte{0xff, 'x'})}}
	e.Evidence = []event.Evidence{{Fact: "f", Strength: event.High}}
	put(t, s, 0, e)
	r, err := s.Record(t.Context(), e.ID)
	if err != nil || r.Event.Raw != nil || r.Event.Files[0].Key != nil || r.Event.Files[0].Object != "o" || r.Event.Files[1].Name != "\xffx" || r.Event.Evidence[0].Strength != event.High {
		t.Errorf("the record is %+v (%v)", r.Event, err)
	}
	if string(e.Files[0].Key) != "secret" || e.Raw == nil {
		t.Error("the event that was applied was changed")
	}
	if _, err := s.Record(t.Context(), "no such"); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("no record gives %v", err)
	}
}

// TestIDsOfAllForms keeps ids as they are, UUIDs or not.
func TestIDsOfAllForms(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	var events []*event.Event
	forms := []event.ID{event.NewID(), event.ImportID([]byte("k"), "slack", "1", ""), "short", "0123456789abcdef", "0195F000-0000-7000-8000-00000000000A", "é"}
	for i, id := range forms {
		e := direct(day(1, 9), "alice", "bob", "hello")
		e.ID = id
		if i > 0 {
			e.Kind, e.Refers = event.Edit, forms[0]
		}
		events = append(events, e)
	}
	put(t, s, 0, events...)
	for _, id := range forms {
		if r, err := s.Record(t.Context(), id); err != nil || r.Event.ID != id {
			t.Errorf("%q is %+v (%v)", id, r.Event, err)
		}
	}
	if got, err := s.Referring(t.Context(), forms[0]); err != nil || len(got) != len(forms)-1 {
		t.Errorf("%d refer to the first (%v)", len(got), err)
	}
	if got, err := s.Referring(t.Context(), ""); err != nil || len(got) != 0 {
		t.Errorf("%d refer to nothing (%v)", len(got), err)
	}
}

// TestCorrectionBeforeItsMessage comes from another stream, earlier.
func TestCorrectionBeforeItsMessage(t *testing.T) {
	s := open(t, t.TempDir(), testKey())
	first, edit := direct(day(1, 9), "alice", "bob", "first"), direct(day(1, 10), "alice", "bob", "second")
	first.ID, edit.Kind = event.NewID(), event.Edit
	edit.Refers = first.ID
	put(t, s, 0, edit)
	put(t, s, 7, first)
	if got, err := s.Referring(t.Context(), first.ID); err != nil || len(got) != 1 || got[0].Event.Text != "second" {
		t.Errorf("referring are %+v (%v)", got, err)
	}
}
