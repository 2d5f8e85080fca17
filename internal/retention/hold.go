package retention

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/search"
)

// Acts of this package, as ActDetail.Action.
const (
	ActPlace   = "hold.place"
	ActRelease = "hold.release"
	ActRequest = "record.erase-request"
)

// Kind is what a hold holds.
type Kind string

// The kinds of scopes. A person's hold covers their handles and hosts, whoever wrote.
const (
	Person Kind = "person"
	Room   Kind = "room"
	Host   Kind = "host"

	// everything is what an act that places a hold covers when its content cannot be read: nobody knows what, so nothing is destroyed.
	everything Kind = "everything"
)

// Unreadable is the matter of holds whose act cannot be read. They end when the act is readable again (restore it from a copy of the journal).
const Unreadable = "(unreadable hold)"

// Scope is a person, room or host.
type Scope struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
}

// Hold is what one matter holds.
type Hold struct {
	Matter string    `json:"matter"`
	Scope  Scope     `json:"scope"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// ErrNoMatter says that no matter of that name holds anything.
var ErrNoMatter = errors.New("no hold of that matter")

// HeldError says that something is held, and by which matter.
type HeldError struct {
	What   string
	Matter string
}

// Error says it.
func (e *HeldError) Error() string { return fmt.Sprintf("%s is held for matter %q", e.What, e.Matter) }

// Records is what this package needs of the archive's driver.
type Records interface {
	Record(ctx context.Context, id event.ID) (archive.Record, error)
	Select(ctx context.Context, f archive.Filter, cursor string) iter.Seq2[archive.Selected, error]
}

// Places tells where records are in the journal.
type Places interface {
	// Places returns where an event was recorded: once, or again where an answer of the journal was lost.
	Places(ctx context.Context, id event.ID) ([]journal.Position, error)
	// Bringing returns where the records are that name a sealed file.
	Bringing(ctx context.Context, object string) ([]journal.Position, error)
}

// Bindings tells which handles and hosts are or were a person's.
type Bindings interface {
	Handles(ctx context.Context, who string) ([]archive.Handle, error)
	Hosts(ctx context.Context, who string) ([]archive.Host, error)
}

// maxWords bounds each text of an act of this package, in bytes.
const maxWords = 2000

// Holds are the holds in force. They are safe for concurrent use.
type Holds struct {
	records  Records
	bindings Bindings
	acts     event.Recorder
	clock    clock.Clock

	mu   sync.RWMutex // held for reading while something is destroyed
	list []Hold
}

// NewHolds returns the holds that the acts in records say are in force. The projections must be up with the journal (Projector.Sync).
func NewHolds(ctx context.Context, records Records, bindings Bindings, acts event.Recorder, c clock.Clock) (*Holds, error) {
	h := &Holds{records: records, bindings: bindings, acts: acts, clock: c}
	past, err := actsOf(ctx, records, ActPlace, ActRelease)
	if err != nil {
		return nil, fmt.Errorf("read holds: %w", err)
	}
	for _, r := range past {
		switch {
		case r.Event.Act != nil:
			h.apply(r.Event)
		case r.Event.Phase == ActPlace:
			h.list = append(h.list, Hold{Unreadable, Scope{everything, ""}, "the act " + string(r.Event.ID) + " cannot be read", r.Event.From.ID, r.Event.Time})
		}
	}
	return h, nil
}

// actsOf returns acts in the order of the journal, which a clock that jumps does not change. Of damaged ones Act is nil.
func actsOf(ctx context.Context, records Records, actions ...string) ([]archive.Record, error) {
	var out []archive.Record
	for r, err := range records.Select(ctx, archive.Filter{Kinds: []event.Kind{event.Act}, Acts: actions, OldestFirst: true}, "") {
		if err != nil {
			return nil, err
		}
		out = append(out, r.Record)
	}
	slices.SortStableFunc(out, func(a, b archive.Record) int {
		return cmp.Or(strings.Compare(a.Position.Stream, b.Position.Stream), cmp.Compare(a.Position.Sequence, b.Position.Sequence), cmp.Compare(a.Position.Record, b.Position.Record))
	})
	return out, nil
}

// apply changes the list as an act says.
func (h *Holds) apply(e *event.Event) {
	switch e.Act.Action {
	case ActPlace:
		for _, d := range e.Act.Details {
			h.list = append(h.list, Hold{e.Act.Object, Scope{Kind(d.Name), d.Value}, e.Act.Purpose, e.From.Handle, e.Time})
		}
	case ActRelease:
		h.list = slices.DeleteFunc(h.list, func(x Hold) bool { return same(x.Matter, e.Act.Object) })
	}
}

func same(a, b string) bool { return search.Fold(a) == search.Fold(b) }

// Place holds scopes for a matter. It is in force when Place returns, and from the moment it is asked for in this process.
func (h *Holds) Place(ctx context.Context, by, matter, reason string, scopes ...Scope) error {
	if err := checkWords(map[string]string{"account": by, "matter": matter, "reason": reason}); err != nil {
		return fmt.Errorf("place hold: %w", err)
	}
	if len(scopes) == 0 {
		return errors.New("place hold: name a person, a room or a host")
	}
	act := h.act(by, ActPlace, matter, reason)
	for _, s := range scopes {
		if s.Kind != Person && s.Kind != Room && s.Kind != Host || strings.TrimSpace(s.Name) == "" || len(s.Name) > maxWords {
			return fmt.Errorf("place hold: %q %q is no person, room or host", s.Kind, s.Name)
		}
		act.Act.Details = append(act.Act.Details, event.Fact{Name: string(s.Kind), Value: strings.TrimSpace(s.Name)})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.acts.Record(ctx, act); err != nil {
		return fmt.Errorf("place hold: %w", err)
	}
	h.apply(act)
	return nil
}

// Release ends all holds of a matter.
func (h *Holds) Release(ctx context.Context, by, matter, reason string) error {
	if err := checkWords(map[string]string{"account": by, "matter": matter, "reason": reason}); err != nil {
		return fmt.Errorf("release hold: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if same(matter, Unreadable) || !slices.ContainsFunc(h.list, func(x Hold) bool { return same(x.Matter, matter) }) {
		return fmt.Errorf("release hold: %w: %q", ErrNoMatter, matter)
	}
	act := h.act(by, ActRelease, matter, reason)
	if err := h.acts.Record(ctx, act); err != nil {
		return fmt.Errorf("release hold: %w", err)
	}
	h.apply(act)
	return nil
}

func (h *Holds) act(by, action, object, reason string) *event.Event {
	return newAct(h.clock, by, action, object, reason)
}

func newAct(c clock.Clock, by, action, object, reason string) *event.Event {
	now := c.Now()
	return &event.Event{ID: event.NewID(), Kind: event.Act, Phase: action, Time: now, Received: now, From: event.Party{Handle: by},
		Content: event.Content{Act: &event.ActDetail{Action: action, Object: object, Purpose: reason}}}
}

func checkWords(words map[string]string) error {
	for name, s := range words {
		if strings.TrimSpace(s) == "" {
			return fmt.Errorf("the %s is missing", name)
		}
		if len(s) > maxWords {
			return fmt.Errorf("the %s is longer than %d bytes", name, maxWords)
		}
	}
	return nil
}

// List returns the holds in force, by matter.
func (h *Holds) List() []Hold {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := slices.Clone(h.list)
	slices.SortStableFunc(out, func(a, b Hold) int { return strings.Compare(a.Matter, b.Matter) })
	return out
}

// Names returns the people, rooms and hosts held under a matter, for searches.
func (h *Holds) Names(_ context.Context, matter string) (people, rooms, hosts []string, err error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, x := range h.list {
		if !same(x.Matter, matter) {
			continue
		}
		switch x.Scope.Kind {
		case Person:
			people = append(people, x.Scope.Name)
		case Room:
			rooms = append(rooms, x.Scope.Name)
		case Host:
			hosts = append(hosts, x.Scope.Name)
		}
	}
	if len(people)+len(rooms)+len(hosts) == 0 {
		return nil, nil, nil, fmt.Errorf("%w: %q", ErrNoMatter, matter)
	}
	return people, rooms, hosts, nil
}

// PersonHeld reports whether a person is held, by id or by one of their handles, and for which matter.
func (h *Holds) PersonHeld(ctx context.Context, person string) (matter string, held bool, err error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.held(ctx, &event.Event{From: event.Party{Person: person, Handle: person}})
}

// RoomHeld reports whether a room, by name or id, is held, and for which matter.
func (h *Holds) RoomHeld(ctx context.Context, room string) (matter string, held bool, err error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.held(ctx, &event.Event{Room: event.Room{Name: room, ID: room}})
}

// HostHeld reports whether a host, or the person whose host it is, is held, and for which matter. Nothing is removed from a held host.
func (h *Holds) HostHeld(ctx context.Context, host event.Host) (matter string, held bool, err error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.held(ctx, &event.Event{Host: host})
}

// Sparing runs f, while which no hold is placed or released; held says what f must spare.
func (h *Holds) Sparing(ctx context.Context, f func(held func(event.Host) (bool, error)) error) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return f(func(host event.Host) (bool, error) {
		_, is, err := h.held(ctx, &event.Event{Host: host})
		return is, err
	})
}

// RecordHeld reports whether a record is held, and for which matter.
func (h *Holds) RecordHeld(ctx context.Context, r archive.Record) (matter string, held bool, err error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.held(ctx, r.Event)
}

// held is called with mu held.
func (h *Holds) held(ctx context.Context, e *event.Event) (string, bool, error) {
	if len(h.list) == 0 {
		return "", false, nil
	}
	s := subjectOf(e)
	for _, x := range h.list {
		covers, err := h.covers(ctx, x.Scope, s)
		if err != nil {
			return "", false, fmt.Errorf("look up holds: %w", err)
		}
		if covers {
			return x.Matter, true, nil
		}
	}
	return "", false, nil
}

// subject is what a record concerns, folded; an id stands beside the names it is the id of.
type subject struct {
	people, rooms, hosts map[string]bool
}

func subjectOf(e *event.Event) subject {
	s := subject{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	add := func(to map[string]bool, names ...string) {
		for _, n := range names {
			if n != "" {
				to[search.Fold(n)] = true
			}
		}
	}
	parties := append([]event.Party{e.From}, e.To...)
	parties = append(parties, e.Audience...) // who could read it in a room
	if e.CallDetail != nil {
		parties = append(parties, e.CallDetail.Parties...)
	}
	for _, p := range parties {
		add(s.people, p.Person, p.Handle, p.Name, p.ID)
	}
	add(s.people, e.Host.Person)
	add(s.rooms, e.Room.Name, e.Room.ID)
	add(s.hosts, e.Host.Name, e.Host.Address, e.Host.ID)
	return s
}

// reach is what a scope covers: names and ids, folded.
type reach struct {
	all                  bool
	people, rooms, hosts map[string]bool
}

func (r reach) covers(s subject) bool {
	return r.all || meet(r.people, s.people) || meet(r.rooms, s.rooms) || meet(r.hosts, s.hosts)
}

func meet(a, b map[string]bool) bool {
	if len(b) < len(a) {
		a, b = b, a
	}
	for name := range a {
		if b[name] {
			return true
		}
	}
	return false
}

// named is the reach of a scope by its name alone.
func named(scope Scope) reach {
	name := map[string]bool{search.Fold(scope.Name): true}
	switch scope.Kind {
	case everything:
		return reach{all: true}
	case Room:
		return reach{rooms: name}
	case Host:
		return reach{hosts: name}
	}
	return reach{people: name}
}

// whole is the reach of a scope with the handles and hosts that are or were a person's.
func (h *Holds) whole(ctx context.Context, scope Scope) (reach, error) {
	r := named(scope)
	if scope.Kind != Person {
		return r, nil
	}
	handles, err := h.bindings.Handles(ctx, scope.Name)
	if err != nil {
		return r, err
	}
	for _, b := range handles {
		r.people[search.Fold(b.ID)], r.people[search.Fold(b.Handle)] = true, true
	}
	hosts, err := h.bindings.Hosts(ctx, scope.Name)
	if err != nil {
		return r, err
	}
	r.hosts = map[string]bool{}
	for _, b := range hosts {
		r.hosts[search.Fold(b.ID)] = true
		if b.Name != "" {
			r.hosts[search.Fold(b.Name)] = true
		}
	}
	return r, nil
}

func (h *Holds) covers(ctx context.Context, scope Scope, s subject) (bool, error) {
	if r := named(scope); scope.Kind != Person || r.covers(s) {
		return r.covers(s), nil
	}
	r, err := h.whole(ctx, scope)
	return err == nil && r.covers(s), err
}
