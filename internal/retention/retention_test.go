package retention_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// office is a record with its keeper, on a clock that tests move.
type office struct {
	t         *testing.T
	log       *archivetest.Log
	store     *sqlite.Store
	projector *archive.Projector
	now       time.Time
	holds     *retention.Holds
	keeper    *retention.Keeper
	class     retention.Class
}

func newOffice(t *testing.T) *office {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(t.TempDir(), make([]byte, sqlite.KeySize), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	o := &office{t: t, log: archivetest.NewLog(), store: store, now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), class: retention.Class{ID: "default", Days: 100, Request: true}}
	o.projector = archive.NewProjector(o.log, o.log, clock.Func(func() time.Time { return o.now }), quiet, store)
	o.restart()
	return o
}

// restart begins again with what the journal says.
func (o *office) restart() {
	o.t.Helper()
	c := clock.Func(func() time.Time { return o.now })
	o.sync()
	var err error
	if o.holds, err = retention.NewHolds(o.t.Context(), o.store, o.store, o.log, c); err != nil {
		o.t.Fatal(err)
	}
	o.keeper, err = retention.NewKeeper(o.t.Context(), retention.Config{Holds: o.holds, Records: o.store, Places: o.store, Frames: retention.FramesOf{Reader: o.log}, Eraser: o.log,
		Acts: o.log, Sync: o.projector.Sync, ClassOf: func(*event.Event) (retention.Class, bool) { return o.class, o.class.ID != "" }, Clock: c})
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) sync() {
	o.t.Helper()
	if err := o.projector.Sync(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) write(from, room string) event.ID {
	o.t.Helper()
	e := &event.Event{ID: event.NewID(), Kind: event.Message, Time: o.now, Received: o.now, Connector: "office", From: event.Party{Handle: from + "@example.org", Person: from},
		Room: event.Room{Name: room}, Host: event.Host{Name: from + "-laptop"}, Verdict: event.Verdict{Action: event.Allow}, Content: event.Content{Text: "words of " + from}}
	if err := o.log.Record(o.t.Context(), e); err != nil {
		o.t.Fatal(err)
	}
	o.sync()
	return e.ID
}

func (o *office) readable(id event.ID) bool {
	o.t.Helper()
	o.sync()
	r, err := o.store.Record(o.t.Context(), id)
	if err != nil {
		o.t.Fatal(err)
	}
	return !r.Erased
}

func person(name string) retention.Scope { return retention.Scope{Kind: retention.Person, Name: name} }

func TestHoldsSurviveARestart(t *testing.T) {
	o := newOffice(t)
	o.write("alice", "desk")
	if err := o.holds.Place(t.Context(), "carl", "Case 7", "litigation", person("alice"), retention.Scope{Kind: retention.Host, Name: "server-1"}); err != nil {
		t.Fatal(err)
	}
	if err := o.holds.Place(t.Context(), "carl", "case-8", "litigation", retention.Scope{Kind: retention.Room, Name: "board"}); err != nil {
		t.Fatal(err)
	}
	if err := o.holds.Release(t.Context(), "carl", "CASE-8", "settled"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		list := o.holds.List()
		if len(list) != 2 || list[0].Matter != "Case 7" || list[0].By != "carl" || list[0].Reason != "litigation" || !list[0].At.Equal(o.now) {
			t.Fatalf("holds are %+v", list)
		}
		for what, want := range map[string]bool{"alice": true, "ALICE": true, "alice@example.org": true, "bob": false} {
			if matter, held, err := o.holds.PersonHeld(t.Context(), what); err != nil || held != want || held && matter != "Case 7" {
				t.Errorf("person %s: held %v for %q (%v)", what, held, matter, err)
			}
		}
		for _, c := range []struct {
			host event.Host
			want bool
		}{{event.Host{Name: "Server-1"}, true}, {event.Host{Name: "alice-laptop"}, false}, {event.Host{Name: "x", Person: "alice"}, true}, {event.Host{Name: "server-2"}, false}} {
			if _, held, err := o.holds.HostHeld(t.Context(), c.host); err != nil || held != c.want {
				t.Errorf("host %+v: held %v (%v)", c.host, held, err)
			}
		}
		if _, held, err := o.holds.RoomHeld(t.Context(), "board"); held || err != nil {
			t.Errorf("the released room is held (%v)", err)
		}
		o.now = o.now.Add(-time.Hour) // a clock that jumps does not bring a released hold back
		o.restart()
		o.now = o.now.Add(time.Hour)
	}
	people, _, hosts, err := o.holds.Names(t.Context(), "case_7")
	if err != nil || len(people) != 1 || len(hosts) != 1 {
		t.Errorf("matter is %v %v (%v)", people, hosts, err)
	}
	if _, _, _, err := o.holds.Names(t.Context(), "case-8"); !errors.Is(err, retention.ErrNoMatter) {
		t.Errorf("a released matter gives %v", err)
	}
}

// TestDamagedHoldHoldsEverything: who damages the act of a hold in the journal does not get rid of it.
func TestDamagedHoldHoldsEverything(t *testing.T) {
	o := newOffice(t)
	id := o.write("alice", "desk")
	if err := o.holds.Place(t.Context(), "carl", "case-7", "litigation", person("alice")); err != nil {
		t.Fatal(err)
	}
	o.log.Damage(1, 0)
	if err := o.projector.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.restart()
	var held *retention.HeldError
	if _, err := o.keeper.Erase(t.Context(), "carl", id, "x"); !errors.As(err, &held) || held.Matter != retention.Unreadable {
		t.Errorf("error is %v", err)
	}
	if err := o.holds.Release(t.Context(), "carl", retention.Unreadable, "x"); !errors.Is(err, retention.ErrNoMatter) {
		t.Errorf("releasing it gives %v", err)
	}
}

func TestPlaceRefuses(t *testing.T) {
	o := newOffice(t)
	for _, c := range []struct {
		by, matter, reason string
		scopes             []retention.Scope
	}{
		{"", "m", "r", []retention.Scope{person("a")}}, {"c", " ", "r", []retention.Scope{person("a")}}, {"c", "m", "", []retention.Scope{person("a")}},
		{"c", "m", "r", nil}, {"c", "m", "r", []retention.Scope{{Kind: "planet", Name: "a"}}}, {"c", "m", "r", []retention.Scope{person(" ")}},
		{"c", strings.Repeat("m", 5000), "r", []retention.Scope{person("a")}},
	} {
		if err := o.holds.Place(t.Context(), c.by, c.matter, c.reason, c.scopes...); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	if err := o.holds.Release(t.Context(), "c", "m", "r"); !errors.Is(err, retention.ErrNoMatter) {
		t.Errorf("releasing nothing gives %v", err)
	}
	o.log.Fail = errors.New("disk full")
	if err := o.holds.Place(t.Context(), "c", "m", "r", person("a")); !errors.Is(err, o.log.Fail) || len(o.holds.List()) != 0 {
		t.Errorf("a hold that could not be recorded gives %v, and holds %v", err, o.holds.List())
	}
}

func TestErasingTakesTwo(t *testing.T) {
	o := newOffice(t)
	id, neighbour := o.write("alice", "desk"), o.write("bob", "desk")
	erase := func(by string) (retention.Outcome, error) {
		return o.keeper.Erase(t.Context(), by, id, "GDPR, article 17")
	}
	for range 2 {
		if outcome, err := erase("carl"); outcome != retention.Requested || err != nil || !o.readable(id) {
			t.Fatalf("one alone: %s (%v)", outcome, err)
		}
		o.restart() // the request is remembered
	}
	if outcome, err := erase("dora"); outcome != retention.Erased || err != nil || o.readable(id) {
		t.Fatalf("the second: %s (%v)", outcome, err)
	}
	if !o.readable(neighbour) {
		t.Error("the neighbour is gone too")
	}
	if _, err := erase("carl"); !errors.Is(err, retention.ErrGone) {
		t.Errorf("again: %v", err)
	}
	if err := o.projector.Rebuild(t.Context()); err != nil || o.readable(id) || !o.readable(neighbour) {
		t.Errorf("a rebuild differs (%v)", err)
	}
}

func TestEraseRefuses(t *testing.T) {
	o := newOffice(t)
	id := o.write("alice", "desk")
	o.class.Request = false
	if _, err := o.keeper.Erase(t.Context(), "carl", id, "x"); !errors.Is(err, retention.ErrRetained) {
		t.Errorf("a class that does not allow it: %v", err)
	}
	o.class = retention.Class{}
	if _, err := o.keeper.Erase(t.Context(), "carl", id, "x"); !errors.Is(err, retention.ErrRetained) {
		t.Errorf("no class: %v", err)
	}
	if _, err := o.keeper.Erase(t.Context(), "carl", "nothing", "x"); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("no record: %v", err)
	}
	if _, err := o.keeper.Erase(t.Context(), "carl", id, " "); err == nil {
		t.Error("no reason was taken")
	}
	if err := o.holds.Place(t.Context(), "carl", "m", "r", person("alice")); err != nil {
		t.Fatal(err)
	}
	o.sync()
	for r, err := range o.store.Select(t.Context(), archive.Filter{Kinds: []event.Kind{event.Act}}, "") {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.keeper.Erase(t.Context(), "carl", r.Event.ID, "x"); !errors.Is(err, retention.ErrKept) {
			t.Errorf("an act: %v", err)
		}
	}
}

func TestDisposeTriesFirst(t *testing.T) {
	o := newOffice(t)
	old, held := o.write("alice", "desk"), o.write("bob", "desk")
	o.now = o.now.AddDate(0, 0, 90)
	young := o.write("alice", "desk")
	if err := o.holds.Place(t.Context(), "carl", "m", "r", person("bob")); err != nil {
		t.Fatal(err)
	}
	o.now = o.now.AddDate(0, 0, 20)
	dry, err := o.keeper.Dispose(t.Context(), "carl", "schedule", true)
	if err != nil || dry.Due != 2 || dry.Held["m"] != 1 || dry.Disposed != 0 || dry.ByClass["default"] != 1 || !o.readable(old) {
		t.Fatalf("dry run: %+v (%v)", dry, err)
	}
	did, err := o.keeper.Dispose(t.Context(), "carl", "schedule", false)
	if err != nil || did.Disposed != 1 {
		t.Fatalf("run: %+v (%v)", did, err)
	}
	if o.readable(old) || !o.readable(held) || !o.readable(young) {
		t.Errorf("readable: old %v, held %v, young %v", o.readable(old), o.readable(held), o.readable(young))
	}
	n := 0
	for r, err := range o.store.Select(t.Context(), archive.Filter{Kinds: []event.Kind{event.Act}, Acts: []string{archive.ActDispose}}, "") {
		if err != nil || r.Event.Refers != old || r.Event.Act.Object != string(did.Run) || r.Event.From.Handle != "carl" || r.Event.Phase != "record.dispose" {
			t.Errorf("certificate is %+v (%v)", r.Event, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d certificates", n)
	}
}

// failing is an eraser that fails once.
type failing struct {
	retention.Eraser
	times int
}

func (f *failing) Erase(sealed []byte) error {
	if f.times--; f.times >= 0 {
		return errors.New("power loss")
	}
	return f.Eraser.Erase(sealed)
}

// TestCrashBetweenActAndDestruction ends the program when the act is durable and the key still there: the next start destroys it.
func TestCrashBetweenActAndDestruction(t *testing.T) {
	o := newOffice(t)
	id := o.write("alice", "desk")
	o.keeper.Eraser = &failing{o.log, 1}
	if _, err := o.keeper.Erase(t.Context(), "carl", id, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.keeper.Erase(t.Context(), "dora", id, "x"); err == nil {
		t.Fatal("the failure was not told")
	}
	before := o.log.Readable()
	o.restart()
	if after := o.log.Readable(); after != before-1 || o.readable(id) {
		t.Errorf("%d contents readable before the restart, %d after", before, after)
	}
}

// TestNothingHeldIsEverDestroyed is law 5: calls of all kinds by all kinds of people, in any order, with restarts, rebuilds, failures and a
// clock that goes on: what was held when it could have been destroyed is readable still.
func TestNothingHeldIsEverDestroyed(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { anySequence(t, rand.New(rand.NewPCG(seed, 9))) })
	}
}

func anySequence(t *testing.T, rng *rand.Rand) {
	o := newOffice(t)
	people, rooms := []string{"alice", "bob", "eve"}, []string{"desk", "board"}
	type written struct {
		id         event.ID
		from, room string
	}
	var all []written
	held := map[string]retention.Scope{} // by matter
	covered := func(w written) bool {
		for _, s := range held {
			if s.Name == w.from || s.Name == w.room || s.Name == w.from+"-laptop" {
				return true
			}
		}
		return false
	}
	ctx := context.Background()
	for range 100 {
		switch rng.IntN(9) {
		case 0, 1:
			w := written{from: people[rng.IntN(3)], room: rooms[rng.IntN(2)]}
			w.id = o.write(w.from, w.room)
			all = append(all, w)
		case 2:
			matter := fmt.Sprint("m", rng.IntN(3))
			s := []retention.Scope{person(people[rng.IntN(3)]), {Kind: retention.Room, Name: rooms[rng.IntN(2)]}, {Kind: retention.Host, Name: people[rng.IntN(3)] + "-laptop"}}[rng.IntN(3)]
			if _, taken := held[matter]; !taken && o.holds.Place(ctx, "carl", matter, "r", s) == nil {
				held[matter] = s
			}
		case 3:
			matter := fmt.Sprint("m", rng.IntN(3))
			if rng.IntN(3) == 0 && o.holds.Release(ctx, "dora", matter, "r") == nil {
				delete(held, matter)
			}
		case 4, 5:
			if len(all) > 0 {
				w := all[rng.IntN(len(all))]
				was := o.readable(w.id)
				for _, by := range []string{"carl", "dora", "root"} {
					o.keeper.Erase(ctx, by, w.id, "x")
				}
				if was && covered(w) && !o.readable(w.id) {
					t.Fatalf("erased a held record: %+v under %v", w, held)
				}
			}
		case 6:
			before := map[event.ID]bool{}
			for _, w := range all {
				before[w.id] = o.readable(w.id)
			}
			o.keeper.Eraser = &failing{o.log, rng.IntN(2)}
			o.keeper.Dispose(ctx, "carl", "schedule", rng.IntN(3) == 0)
			for _, w := range all {
				if before[w.id] && covered(w) && !o.readable(w.id) {
					t.Fatalf("disposed of a held record: %+v under %v", w, held)
				}
			}
		case 7:
			o.now = o.now.AddDate(0, 0, rng.IntN(60))
		case 8:
			if rng.IntN(2) == 0 {
				if err := o.projector.Rebuild(ctx); err != nil {
					t.Fatal(err)
				}
			}
			o.restart()
		}
	}
}

// TestPreviewDecidesAsHoldsDo: what a preview counts is what is held afterwards, neither more nor less, and nothing is held by it.
func TestPreviewDecidesAsHoldsDo(t *testing.T) {
	o := newOffice(t)
	for i := range 12 {
		o.now = o.now.Add(time.Hour)
		o.write([]string{"alice", "bob", "carol"}[i%3], []string{"desk", "board"}[i%2])
	}
	for _, scope := range []retention.Scope{person("alice"), person("ALICE@example.org"), person("nobody"), {Kind: retention.Room, Name: "Board"}, {Kind: retention.Host, Name: "bob-laptop"}} {
		p, err := o.holds.Preview(t.Context(), 1000, scope)
		if err != nil || p.Partly || p.Looked != 12 || len(o.holds.List()) != 0 {
			t.Fatalf("%v: %+v, %v", scope, p, err)
		}
		if err := o.holds.Place(t.Context(), "carl", "m", "r", scope); err != nil {
			t.Fatal(err)
		}
		held := 0
		for r, err := range o.store.Select(t.Context(), archive.Filter{}, "") {
			if err != nil {
				t.Fatal(err)
			}
			if _, is, err := o.holds.RecordHeld(t.Context(), r.Record); err != nil {
				t.Fatal(err)
			} else if is {
				held++
			}
		}
		if held != p.Total() {
			t.Errorf("%v: %d are held, %d were said", scope, held, p.Total())
		}
		if held > 0 && (p.First.After(p.Last) || p.First.IsZero()) {
			t.Errorf("%v: from %s to %s", scope, p.First, p.Last)
		}
		if err := o.holds.Release(t.Context(), "carl", "m", "r"); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := o.holds.Preview(t.Context(), 5, person("alice")); err != nil || !p.Partly || p.Looked != 5 {
		t.Errorf("a bounded preview: %+v, %v", p, err)
	}
}
