package sqlite

import (
	"bytes"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/ncruces/go-sqlite3"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// body is what a row keeps of an event, in canonical form. Raw bytes and the keys of files stay in the journal.
type body struct {
	Phase     string        `json:"phase"`
	Time      time.Time     `json:"time"`
	Until     time.Time     `json:"until"`
	Received  time.Time     `json:"received"`
	Connector string        `json:"connector"`
	Source    string        `json:"source"`
	Room      event.Room    `json:"room"`
	From      event.Party   `json:"from"`
	To        []event.Party `json:"to"`
	Host      event.Host    `json:"host"`
	Refers    event.ID      `json:"refers"`
	Reason    string        `json:"reason"`
	Verdict   event.Verdict `json:"verdict"`
	Content   event.Content `json:"content"`
}

func encode(e *event.Event) ([]byte, error) {
	b := body{e.Phase, e.Time, e.Until, e.Received, e.Connector, e.Source, e.Room, e.From, e.To, e.Host, e.Refers, e.Reason, e.Verdict, e.Content}
	b.Content.Raw = nil
	if len(e.Files) > 0 {
		b.Content.Files = make([]event.File, len(e.Files))
		copy(b.Content.Files, e.Files)
		for i := range b.Content.Files {
			b.Content.Files[i].Key = nil
		}
	}
	return event.Canonical(&b)
}

// columns are those that decodeRow reads, in order.
const columns = "e.slot, e.id, e.kind, e.action, e.rule, e.stream, e.sequence, e.record, e.erased, e.body"

// The column erased: why a record has no content.
const (
	goneErased  = 1
	goneKeyLost = 2
)

func goneOf(r archive.Record) int {
	switch {
	case r.Erased:
		return goneErased
	case r.KeyLost:
		return goneKeyLost
	}
	return 0
}

// row is a record with what only this package knows of it.
type row struct {
	archive.Record
	slot int64
}

func decodeRow(s *sqlite3.Stmt) (row, error) {
	var b body
	if err := event.ParseCanonical(s.ColumnRawBlob(9), &b); err != nil {
		return row{}, err
	}
	r := row{slot: s.ColumnInt64(0)}
	r.Action, r.Rule = event.Action(s.ColumnText(3)), s.ColumnText(4)
	r.Position = journal.Position{Stream: s.ColumnText(5), Sequence: uint64(s.ColumnInt64(6)), Record: s.ColumnInt(7)}
	r.Erased, r.KeyLost = s.ColumnInt(8) == goneErased, s.ColumnInt(8) == goneKeyLost
	r.Event = b.event(event.Kind(s.ColumnText(2)))
	r.Event.ID = idOf(s.ColumnRawBlob(1))
	return r, nil
}

// event is what encode was given, without its id.
func (b *body) event(kind event.Kind) *event.Event {
	return &event.Event{Kind: kind, Phase: b.Phase, Time: b.Time, Until: b.Until, Received: b.Received,
		Connector: b.Connector, Source: b.Source, Room: b.Room, From: b.From, To: b.To, Host: b.Host, Refers: b.Refers, Reason: b.Reason,
		Verdict: b.Verdict, Content: b.Content}
}

// headless makes an event of a header whose content is gone.
func headless(h event.Header) *event.Event {
	e := &event.Event{
		ID: h.ID, Kind: h.Kind, Phase: h.Phase, Time: h.Time, Until: h.Until, Received: h.Received, Connector: h.Connector, Source: h.Source,
		Room: event.Room{ID: h.Room, Incarnation: h.Incarnation}, From: event.Party{ID: h.From}, Host: event.Host{ID: h.Host},
		Refers: h.Refers, Reason: h.Reason, Verdict: event.Verdict{Action: h.Verdict, Enforced: h.Enforced, Policy: h.Policy},
	}
	for _, to := range h.To {
		e.To = append(e.To, event.Party{ID: to})
	}
	return e
}

// forgotten is what remains of an event when its content is destroyed: what its header says.
func forgotten(e *event.Event) *event.Event {
	out := *e
	out.Room = event.Room{ID: e.Room.ID, Incarnation: e.Room.Incarnation}
	out.From, out.Host, out.To = event.Party{ID: e.From.ID}, event.Host{ID: e.Host.ID}, nil
	for _, to := range e.To {
		out.To = append(out.To, event.Party{ID: to.ID})
	}
	out.Verdict = event.Verdict{Action: e.Verdict.Action, Enforced: e.Verdict.Enforced, Policy: e.Verdict.Policy}
	out.Content = event.Content{}
	return &out
}

// key is how an id is kept: the 16 bytes of a UUID in its one text form, else the text behind textID; nothing for no id.
func key(id event.ID) []byte {
	if id == "" {
		return []byte{}
	}
	if u, err := uuid.Parse(string(id)); err == nil && u.String() == string(id) {
		return u[:]
	}
	return append([]byte(textID), id...)
}

// textID stands before ids that are no UUIDs; it makes them longer than 16 bytes.
const textID = "this is no UUID: "

func idOf(b []byte) event.ID {
	if len(b) == 16 {
		if u, err := uuid.FromBytes(b); err == nil {
			return event.ID(u.String())
		}
	}
	return event.ID(bytes.TrimPrefix(b, []byte(textID)))
}

// nanos is a time as tables keep it.
func nanos(t time.Time) int64 {
	switch {
	case t.Year() < 1678:
		return math.MinInt64
	case t.Year() > 2261:
		return math.MaxInt64
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time { return time.Unix(0, n).UTC() }

// Slots: 20 bits of number within a second.
const (
	slotBits  = 20
	adminBase = int64(1) << 60 // of acts and deliveries
	maxSecond = int64(1)<<33 - 1
)

// secondOf returns the first slot of the second of t.
func secondOf(t time.Time) int64 { return min(max(t.Unix(), 0), maxSecond) << slotBits }

// administrative reports whether records of that kind speak of other records, and are found only when asked for.
func administrative(k event.Kind) bool { return k == event.Act || k == event.Delivery }

func baseOf(e *event.Event) int64 {
	if administrative(e.Kind) {
		return adminBase + secondOf(e.Time)
	}
	return secondOf(e.Time)
}
