package archive_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/search"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// bench is a journal, a store that follows it, and the doors to it.
type bench struct {
	log       *archivetest.Log
	store     *sqlite.Store
	projector *archive.Projector
	archive   *archive.Archive
	searcher  *search.Searcher
}

func newBench(t *testing.T) *bench {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(t.TempDir(), make([]byte, sqlite.KeySize), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	l := archivetest.NewLog()
	return &bench{l, store, archive.NewProjector(l, l, clock.System{}, quiet, store),
		archive.New(archive.Driver{Records: store, Catalogue: store, Counts: store}, l, clock.System{}), search.New(store, nil)}
}

func (b *bench) record(t *testing.T, events ...*event.Event) {
	t.Helper()
	if err := b.log.Record(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	if err := b.projector.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) view(t *testing.T) *archive.View {
	t.Helper()
	v, err := b.archive.Open(t.Context(), archive.Account{Name: "rita", Reads: true}, "test")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func minute(n int) time.Time { return time.Date(2026, 3, 1, 9, n, 0, 0, time.UTC) }

func message(n int, from, to, text string) *event.Event {
	e := &event.Event{ID: event.NewID(), Kind: event.Message, Time: minute(n), Received: minute(n), Connector: "office",
		From: event.Party{Handle: from + "@example.org", Person: from}, Verdict: event.Verdict{Action: event.Allow, Rule: "otherwise"}, Content: event.Content{Text: text}}
	if to == "desk" {
		e.Room = event.Room{Name: "desk@rooms.example.org"}
	} else {
		e.To = []event.Party{{Handle: to + "@example.org", Person: to}}
	}
	return e
}

// TestOneStoryOverAllPlanes is what `chaperone person alice` shows: she asks to go elsewhere, her machine does, and the program is on its disk.
func TestOneStoryOverAllPlanes(t *testing.T) {
	b := newBench(t)
	host := event.Host{Name: "laptop-17", Address: "10.0.0.17", Person: "alice"}
	says := message(1, "alice", "bob", "let's move this to WhatsApp")
	flow := &event.Event{ID: event.NewID(), Kind: event.FlowSeen, Time: minute(2), Received: minute(2), Connector: "border", Host: host,
		Verdict: event.Verdict{Action: event.Block, Rule: "no-messengers"}, Content: event.Content{Flow: &event.Flow{App: "whatsapp", Client: "10.0.0.17:5000", Server: "1.2.3.4:443", Confidence: event.High}}}
	program := &event.Event{ID: event.NewID(), Kind: event.FindingHit, Time: minute(3), Received: minute(3), Connector: "agent", Host: host,
		Verdict: event.Verdict{Action: event.Block, Rule: "no-messengers"}, Content: event.Content{Program: &event.Program{App: "whatsapp", Path: "holiday.exe", Confidence: event.Exact}}}
	b.record(t, says, flow, program, message(4, "bob", "carol", "unrelated"))
	v := b.view(t)
	for _, who := range []string{"alice", "Alice", "alice@example.org", "laptop-17", "10.0.0.17"} {
		part, err := v.Timeline(t.Context(), who, archive.Filter{OldestFirst: true}, archive.Page{})
		if err != nil {
			t.Fatal(err)
		}
		var kinds []event.Kind
		for _, r := range part.Items {
			kinds = append(kinds, r.Event.Kind)
		}
		if want := []event.Kind{event.Message, event.FlowSeen, event.FindingHit}; !reflect.DeepEqual(kinds, want) {
			t.Errorf("%s: time line is %v, want %v", who, kinds, want)
		}
	}
	seen, err := v.Sightings(t.Context(), archive.SightingFilter{})
	if err != nil || len(seen) != 1 || seen[0].Network != 1 || seen[0].Endpoint != 1 || seen[0].Confidence != event.Exact || seen[0].Person != "alice" {
		t.Errorf("sightings are %+v (%v)", seen, err)
	}
	p, err := v.Person(t.Context(), "laptop-17")
	if err != nil || p.ID != "alice" || len(p.Handles) != 1 || len(p.Hosts) != 1 {
		t.Errorf("person behind the host is %+v (%v)", p, err)
	}
	if _, err := v.Person(t.Context(), "nobody"); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("somebody unknown gives %v", err)
	}
}

// TestHandleThatChangedHands keeps the time lines of its two owners apart.
func TestHandleThatChangedHands(t *testing.T) {
	b := newBench(t)
	first, second := message(1, "alice", "bob", "mine"), message(2, "alice", "bob", "now mine")
	second.From.Person = "anna"
	b.record(t, first, second)
	for who, want := range map[string]int{"alice": 1, "anna": 1, "alice@example.org": 2} {
		part, err := b.view(t).Timeline(t.Context(), who, archive.Filter{}, archive.Page{})
		if err != nil || len(part.Items) != want {
			t.Errorf("%s: %d records (%v), want %d", who, len(part.Items), err, want)
		}
	}
}

// TestEveryRevision keeps all versions of a message under it, each with its verdict.
func TestEveryRevision(t *testing.T) {
	b := newBench(t)
	first := message(1, "alice", "desk", "the first version")
	edit := message(2, "alice", "desk", "the second version")
	edit.Kind, edit.Refers = event.Edit, first.ID
	again := message(3, "alice", "desk", "the third version")
	again.Kind, again.Refers, again.Verdict = event.Edit, edit.ID, event.Verdict{Action: event.Block, Rule: "cards"}
	react := message(4, "bob", "desk", "👍")
	react.Kind, react.Refers = event.Reaction, first.ID
	took := message(5, "alice", "desk", "")
	took.Kind, took.Refers = event.Retraction, first.ID
	b.record(t, first, edit, again, react, took)
	v := b.view(t)
	talks, err := v.Conversations(t.Context(), "bob", archive.Page{})
	if err != nil || len(talks.Items) != 1 || talks.Items[0].Messages != 1 || talks.Items[0].Stopped != 1 {
		t.Fatalf("conversations are %+v (%v)", talks.Items, err)
	}
	messages, err := v.Messages(t.Context(), talks.Items[0].ID, archive.Page{})
	if err != nil || len(messages.Items) != 1 {
		t.Fatalf("messages are %+v (%v)", messages, err)
	}
	for _, id := range []event.ID{first.ID, edit.ID, again.ID, react.ID} {
		m, err := v.Message(t.Context(), id)
		if err != nil || m.Event.ID != first.ID {
			t.Fatalf("the message of %s is %+v (%v)", id, m.Event, err)
		}
		var texts []string
		for _, r := range m.Revisions {
			texts = append(texts, r.Event.Text+"/"+string(r.Action))
		}
		if want := []string{"the second version/allow", "the third version/block", "/allow"}; !reflect.DeepEqual(texts, want) || len(m.Reactions) != 1 || !m.Retracted() {
			t.Errorf("revisions are %q, reactions %d", texts, len(m.Reactions))
		}
	}
}

// TestRebuildGivesTheSame deletes the projections and asks everything again.
func TestRebuildGivesTheSame(t *testing.T) {
	b := newBench(t)
	for i := range 300 {
		e := message(i%60, fmt.Sprintf("p%d", i%7), "desk", fmt.Sprintf("text number %d of %d", i, i%11))
		b.log.Record(t.Context(), e)
		if i%10 == 0 {
			r := message(i%60, "p1", "desk", "corrected")
			r.Kind, r.Refers = event.Edit, e.ID
			b.log.Record(t.Context(), r)
		}
	}
	if err := b.projector.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := func() map[string][]event.ID {
		out := map[string][]event.ID{}
		for _, q := range []string{"*", "text", "number NEAR/2 of", "from:p3", "corrected", "kind:edit", "text NOT from:p1", "room:desk* after:2026-03-01T09:30"} {
			for r, err := range b.searcher.Search(t.Context(), b.view(t), q, "", 0) {
				if err != nil {
					t.Fatal(err)
				}
				out[q] = append(out[q], r.Event.ID)
			}
		}
		return out
	}
	before := ask()
	if err := b.projector.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := ask(); !reflect.DeepEqual(before, after) || len(before["*"]) != 330 {
		t.Errorf("search differs after the rebuild: %d and %d records", len(before["*"]), len(after["*"]))
	}
	if lag, err := b.projector.Lag(t.Context()); err != nil || lag.Frames == 0 {
		t.Errorf("the looks of this test are not yet applied, but the lag is %+v (%v)", lag, err)
	}
}

// TestRunFollows applies what comes while it runs.
func TestRunFollows(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.projector.Run(ctx) }()
	e := message(1, "alice", "bob", "hello")
	if err := b.log.Record(ctx, e); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := b.store.Record(ctx, e.ID); err == nil {
			break
		} else if !errors.Is(err, archive.ErrNotFound) {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDamagedContentIsKnownByItsHeader(t *testing.T) {
	b := newBench(t)
	e := message(1, "alice", "bob", "hello")
	if err := b.log.Record(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	b.log.Damage(0, 0)
	b.record(t, message(2, "alice", "bob", "the next one"))
	r, err := b.store.Record(t.Context(), e.ID)
	if err != nil || !r.Erased || b.projector.Unreadable() != 1 {
		t.Errorf("the record is %+v (%v), %d unreadable", r, err, b.projector.Unreadable())
	}
}

// locked is an opener without a key.
type locked struct{}

func (locked) Open(_, _ []byte) ([]byte, error) { return nil, seal.ErrNoKey }

// TestMissingKeyStops does not take what cannot be opened now for what was erased.
func TestMissingKeyStops(t *testing.T) {
	b := newBench(t)
	e := message(1, "alice", "bob", "hello")
	if err := b.log.Record(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	p := archive.NewProjector(b.log, locked{}, clock.System{}, slog.New(slog.DiscardHandler), b.store)
	if err := p.Sync(t.Context()); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("error is %v", err)
	}
	if _, err := b.store.Record(t.Context(), e.ID); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("the record was applied: %v", err)
	}
	if err := b.projector.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	if r, err := b.store.Record(t.Context(), e.ID); err != nil || r.Event.Text != "hello" {
		t.Errorf("after the key came the record is %+v (%v)", r, err)
	}
}

// TestOlderJournalIsFollowedAnew puts projections before a journal that is shorter than what they were made from.
func TestOlderJournalIsFollowedAnew(t *testing.T) {
	b := newBench(t)
	for i := range 5 {
		b.record(t, message(i, "alice", "bob", "hello"))
	}
	older := archivetest.NewLog()
	e := message(9, "carol", "bob", "from the older journal")
	if err := older.Record(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	p := archive.NewProjector(older, older, clock.System{}, slog.New(slog.DiscardHandler), b.store)
	if err := p.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for r, err := range b.store.Select(t.Context(), archive.Filter{}, "") {
		if err != nil || r.Event.ID != e.ID {
			t.Errorf("found %+v (%v)", r.Event, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}
