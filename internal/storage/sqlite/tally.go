package sqlite

import (
	"cmp"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
)

// tally adds up what a batch says of conversations, handles, hosts, messengers and days.
type tally struct {
	talks     map[int64]*talk
	members   map[member]bool
	handles   map[handleKey]*handle
	hosts     map[event.Host]*span
	sightings map[sightingKey]*sighting
	days      map[dayKey]int
	captures  map[captureKey]int
	removed   bool
}

// span is when something was first and last seen, and in how many records; forgetting counts down.
type span struct {
	seen        bool // not only taken back from
	first, last int64
	records     int
}

func (s *span) add(at int64) {
	if !s.seen {
		s.seen, s.first, s.last = true, at, at
	}
	s.first, s.last = min(s.first, at), max(s.last, at)
	s.records++
}

type talk struct {
	span
	room              string
	messages, stopped int
}

type member struct {
	conversation int64
	handle       string
}

type handleKey struct{ id, person string }

type handle struct {
	span
	connector, handle, name string
}

type sightingKey struct {
	app    string
	host   event.Host
	person string
}

type sighting struct {
	span
	network, endpoint int
	confidence        event.Confidence
	action            event.Action
	rule              string
}

type dayKey struct {
	day    string
	kind   event.Kind
	action event.Action
}

type captureKey struct{ day, connector, room, class, reason string }

// dayOf is the day that an event counts for: of live traffic the gateway's, of imports the source's.
func dayOf(e *event.Event) string {
	at := e.Received
	if at.IsZero() || e.Source == event.SourceImport && !e.Time.IsZero() {
		at = e.Time
	}
	return at.UTC().Format(time.DateOnly)
}

func newTally() tally {
	return tally{map[int64]*talk{}, map[member]bool{}, map[handleKey]*handle{}, map[event.Host]*span{}, map[sightingKey]*sighting{},
		map[dayKey]int{}, map[captureKey]int{}, false}
}

// entry returns the value of a key, made when missing.
func entry[K comparable, V any](m map[K]*V, k K) *V {
	v, ok := m[k]
	if !ok {
		v = new(V)
		m[k] = v
	}
	return v
}

func (t *tally) add(r archive.Record, conversation int64) {
	e, at := r.Event, nanos(r.Event.Time)
	t.days[dayKey{dayOf(e), e.Kind, r.Action}]++
	if conversation != 0 {
		k := entry(t.talks, conversation)
		k.add(at)
		k.room = cmp.Or(k.room, e.Room.Name)
		if e.Kind == event.Message || e.Kind == event.FileUpload {
			k.messages++
		}
		if r.Action.Stops() {
			k.stopped++
		}
		t.member(conversation, e.From)
		for _, to := range e.To {
			t.member(conversation, to)
		}
	}
	if r.Erased || r.KeyLost {
		return
	}
	for _, p := range parties(e) {
		h := entry(t.handles, handleKey{p.ID, p.Person})
		h.add(at)
		h.connector, h.handle, h.name = cmp.Or(h.connector, e.Connector), cmp.Or(h.handle, p.Handle), p.Name
	}
	if e.Host.Name != "" || e.Host.Address != "" {
		entry(t.hosts, e.Host).add(at)
	}
	t.sighting(r, at)
}

func (t *tally) member(conversation int64, p event.Party) {
	if p.ID != "" {
		t.members[member{conversation, p.ID}] = true
	}
}

// parties are those who send and receive, with ids; who acts has an account, not a handle.
func parties(e *event.Event) []event.Party {
	var out []event.Party
	if e.Kind != event.Act && e.From.ID != "" && e.From.Handle != "" {
		out = append(out, e.From)
	}
	for _, to := range e.To {
		if to.ID != "" && to.Handle != "" {
			out = append(out, to)
		}
	}
	return out
}

func keyOf(e *event.Event) (sightingKey, bool) {
	app := e.App()
	person := e.Host.Person
	if person == "" {
		person = e.From.Person
	}
	return sightingKey{app, event.Host{ID: e.Host.ID, Name: e.Host.Name, Address: e.Host.Address}, person}, app != ""
}

func (t *tally) sighting(r archive.Record, at int64) {
	k, ok := keyOf(r.Event)
	if !ok {
		return
	}
	s := entry(t.sightings, k)
	s.add(at)
	if r.Event.Program != nil {
		s.endpoint++
		s.confidence = max(s.confidence, r.Event.Program.Confidence)
	} else {
		s.network++
	}
	if r.Event.Flow != nil {
		s.confidence = max(s.confidence, r.Event.Flow.Confidence)
	}
	for _, v := range r.Event.Evidence {
		s.confidence = max(s.confidence, v.Strength)
	}
	if at >= s.last {
		s.action, s.rule = r.Action, r.Rule
	}
}

// remove takes back what a forgotten record added under names.
func (t *tally) remove(r archive.Record) {
	t.removed = true
	for _, p := range parties(r.Event) {
		h := entry(t.handles, handleKey{p.ID, p.Person})
		h.records--
	}
	if r.Event.Host.Name != "" || r.Event.Host.Address != "" {
		entry(t.hosts, r.Event.Host).records--
	}
	if k, ok := keyOf(r.Event); ok {
		s := entry(t.sightings, k)
		s.records--
		if r.Event.Program != nil {
			s.endpoint--
		} else {
			s.network--
		}
	}
}

// Classes of captures.
const (
	stored      = "stored"
	excluded    = "excluded"
	quarantined = "quarantined"
)

// capture accounts for an event (law 3): a second record of one event is excluded as a duplicate.
func (t *tally) capture(e *event.Event, added bool) {
	if !archive.Conversational(e.Kind) || e.Kind == event.Delivery || e.Kind == event.VerdictSet {
		return
	}
	k := captureKey{dayOf(e), e.Connector, e.Room.ID, stored, ""}
	switch {
	case !added && e.Reason == event.ReasonLate:
		return // the spool gave once more what it did not know to be recorded: it was seen once
	case !added:
		k.class, k.reason = excluded, event.ReasonDuplicate
	case e.Reason == event.ReasonDuplicate || e.Reason == event.ReasonDisposed:
		k.class, k.reason = excluded, e.Reason
	case e.Reason != "" || e.Verdict.Action == event.Quarantine:
		k.class, k.reason = quarantined, cmp.Or(e.Reason, e.Verdict.Rule)
	}
	t.captures[k]++
}

// exclude adds what a connector counted and did not record.
func (t *tally) exclude(e *event.Event) {
	for _, c := range event.ExcludedIn(e) {
		t.captures[captureKey{c.Day, e.Connector, e.Room.ID, excluded, c.Reason}] += int(c.N)
	}
}
