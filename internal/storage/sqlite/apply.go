package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/search"
)

// Apply adds records in the order of the journal, all or none. Those at or before the position of their stream are skipped.
func (s *Store) Apply(ctx context.Context, entries []archive.Entry) error {
	forgot := false
	err := s.write(ctx, func(c *conn) error {
		b := newBatch(c)
		for i := range entries {
			if err := b.apply(&entries[i]); err != nil {
				return fmt.Errorf("record %s: %w", entries[i].Header.ID, err)
			}
		}
		forgot = b.removed
		return b.finish()
	})
	if err != nil {
		return fmt.Errorf("apply to projections: %w", err)
	}
	if forgot {
		s.checkpoint(ctx)
	}
	return nil
}

// checkpoint empties the write-ahead log, which may still hold pages from before something was forgotten. While somebody reads an older state
// it cannot, and a later one will.
func (s *Store) checkpoint(ctx context.Context) {
	if err := s.fold(ctx); err != nil {
		s.log.Debug("write-ahead log not emptied yet", "error", err)
	}
}

// batch is one transaction of Apply. Numbers are added up in memory and written once, at its end.
type batch struct {
	conn          *conn
	positions     map[string]journal.Position
	next          map[int64]int64 // by second, the next free slot
	conversations map[string]int64
	pending       []indexed
	tally
}

// indexed is a row that is not yet in the full-text table, which wants them in order.
type indexed struct {
	slot  int64
	terms search.Terms
}

func newBatch(c *conn) *batch {
	return &batch{conn: c, positions: map[string]journal.Position{}, next: map[int64]int64{}, conversations: map[string]int64{}, tally: newTally()}
}

func (b *batch) apply(entry *archive.Entry) error {
	fresh, err := b.advance(entry.Position)
	if err != nil || !fresh {
		return err
	}
	e := entry.Event
	if e == nil {
		e = headless(entry.Header)
	}
	r := archive.Record{Event: e, Action: e.Verdict.Action, Rule: e.Verdict.Rule, Erased: entry.Event == nil && !entry.KeyLost, KeyLost: entry.KeyLost, Position: entry.Position}
	added, err := b.insert(r)
	if err != nil {
		return err
	}
	b.capture(e, added)
	if !added {
		p := entry.Position
		return b.conn.exec("INSERT OR IGNORE INTO copies VALUES(?,?,?,?)", key(e.ID), p.Stream, int64(p.Sequence), p.Record)
	}
	for _, o := range entry.Header.Objects {
		if err := b.conn.exec("INSERT OR IGNORE INTO objects VALUES(?,?)", o.Name, key(e.ID)); err != nil {
			return err
		}
	}
	switch {
	case e.Kind == event.VerdictSet && e.Refers != "" && e.Verdict.Action != "":
		return b.judge(e.Refers, e.Verdict)
	case e.Kind == event.Act:
		return b.act(e)
	}
	return nil
}

// advance moves the position of the stream on to p, and reports whether p is new.
func (b *batch) advance(p journal.Position) (bool, error) {
	at, ok := b.positions[p.Stream]
	if !ok {
		at.Stream = p.Stream
		if err := readPosition(b.conn, &at); err != nil {
			return false, err
		}
		b.positions[p.Stream] = at
	}
	if p.Sequence < at.Sequence || p.Sequence == at.Sequence && p.Record <= at.Record {
		return false, nil
	}
	b.positions[p.Stream] = p
	return true, nil
}

// insert adds a row, and reports whether there was none of that id.
func (b *batch) insert(r archive.Record) (bool, error) {
	encoded, err := encode(r.Event)
	if err != nil {
		return false, err
	}
	slot, err := b.slot(baseOf(r.Event))
	if err != nil {
		return false, err
	}
	conversation, err := b.conversation(r.Event)
	if err != nil {
		return false, err
	}
	root, err := b.root(r.Event.Refers)
	if err != nil {
		return false, err
	}
	err = b.conn.exec("INSERT INTO events VALUES(?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(id) DO NOTHING",
		slot, key(r.Event.ID), string(r.Event.Kind), conversation, root, string(r.Action), r.Rule,
		r.Position.Stream, int64(r.Position.Sequence), r.Position.Record, goneOf(r), encoded)
	if err != nil || b.conn.Changes() == 0 {
		return false, err
	}
	b.next[baseOf(r.Event)] = slot + 1
	b.pending = append(b.pending, indexed{slot, search.TermsOf(r)})
	b.tally.add(r, conversation)
	return true, nil
}

// slot returns the next free slot of a second.
func (b *batch) slot(base int64) (int64, error) {
	if next, ok := b.next[base]; ok {
		return next, nil
	}
	next := base
	err := b.conn.each("SELECT slot FROM events WHERE slot>=? AND slot<? ORDER BY slot DESC LIMIT 1", func(r *sqlite3.Stmt) error {
		next = r.ColumnInt64(0) + 1
		return nil
	}, base, base+1<<slotBits)
	if err == nil && len(b.next) < 1<<16 {
		b.next[base] = next
	}
	return next, err
}

// root follows references to the event that they all begin at.
func (b *batch) root(refers event.ID) ([]byte, error) {
	if refers == "" {
		return []byte{}, nil
	}
	root := key(refers)
	err := b.conn.each("SELECT root FROM events WHERE id=?", func(r *sqlite3.Stmt) error {
		if above := r.ColumnRawBlob(0); len(above) > 0 {
			root = slices.Clone(above)
		}
		return nil
	}, root)
	return root, err
}

// conversation returns the number of an event's conversation, made when new; 0 for none.
func (b *batch) conversation(e *event.Event) (int64, error) {
	id := archive.ConversationOf(e)
	if id == "" || e.Kind == event.Act {
		return 0, nil
	}
	if n, ok := b.conversations[id]; ok {
		return n, nil
	}
	n := int64(0)
	find := func(r *sqlite3.Stmt) error { n = r.ColumnInt64(0); return nil }
	if err := b.conn.each("SELECT number FROM conversations WHERE id=?", find, id); err != nil {
		return 0, err
	}
	if n == 0 {
		at := nanos(e.Time)
		err := b.conn.exec("INSERT INTO conversations(id,connector,room,folded,first,last,messages,stopped) VALUES(?,?,?,?,?,?,0,0)",
			id, e.Connector, e.Room.Name, search.Fold(e.Room.Name), at, at)
		if err != nil {
			return 0, err
		}
		n = b.conn.LastInsertRowID()
	}
	b.conversations[id] = n
	return n, nil
}

// finish writes what was gathered.
func (b *batch) finish() error {
	if err := b.index(); err != nil {
		return err
	}
	if err := b.tally.write(b.conn); err != nil {
		return err
	}
	for _, p := range b.positions {
		err := b.conn.exec("INSERT INTO positions VALUES(?,?,?) ON CONFLICT(stream) DO UPDATE SET sequence=excluded.sequence, record=excluded.record",
			p.Stream, int64(p.Sequence), p.Record)
		if err != nil {
			return err
		}
	}
	return nil
}

// index adds the pending rows to the full-text table.
func (b *batch) index() error {
	slices.SortFunc(b.pending, func(a, z indexed) int { return cmp.Compare(a.slot, z.slot) })
	for _, p := range b.pending {
		if err := b.conn.exec("INSERT INTO terms(rowid,text,facets) VALUES(?,?,?)", p.slot, joined(p.terms.Text), joined(p.terms.Facets)); err != nil {
			return err
		}
	}
	b.pending = b.pending[:0]
	return nil
}

func joined(tokens []string) string { return strings.Join(tokens, " ") }

// unindex takes a row out of the full-text table, which has to be told what is in it.
func (b *batch) unindex(slot int64, t search.Terms) error {
	return b.conn.exec("INSERT INTO terms(terms,rowid,text,facets) VALUES('delete',?,?,?)", slot, joined(t.Text), joined(t.Facets))
}

// change replaces a row, and what it is found by.
func (b *batch) change(old row, r archive.Record) error {
	if err := b.index(); err != nil {
		return err
	}
	encoded, err := encode(r.Event)
	if err != nil {
		return err
	}
	if err := b.unindex(old.slot, search.TermsOf(old.Record)); err != nil {
		return err
	}
	b.pending = append(b.pending, indexed{old.slot, search.TermsOf(r)})
	return b.conn.exec("UPDATE events SET action=?, rule=?, erased=?, body=? WHERE slot=?", string(r.Action), r.Rule, goneOf(r), encoded, old.slot)
}

// judge puts a later verdict in force.
func (b *batch) judge(id event.ID, v event.Verdict) error {
	old, err := findRow(b.conn, id)
	if old == nil || err != nil {
		return err
	}
	r := old.Record
	r.Action, r.Rule = v.Action, v.Rule
	return b.change(*old, r)
}

// act carries out what an act did to records: it makes the projections forget those that were destroyed. It also takes over what an act
// counts.
func (b *batch) act(e *event.Event) error {
	b.exclude(e)
	for _, id := range archive.Destroyed(e) {
		if err := b.forget(id); err != nil {
			return err
		}
	}
	return nil
}

// forget drops the content of a record.
func (b *batch) forget(id event.ID) error {
	old, err := findRow(b.conn, id)
	if old == nil || err != nil || old.Erased {
		return err
	}
	r := old.Record
	r.Event, r.Erased, r.KeyLost, r.Rule = forgotten(old.Event), true, false, ""
	b.tally.remove(old.Record)
	return b.change(*old, r)
}

func findRow(c *conn, id event.ID) (*row, error) {
	var found *row
	err := c.each("SELECT "+columns+" FROM events e WHERE e.id=?", func(s *sqlite3.Stmt) error {
		r, err := decodeRow(s)
		found = &r
		return err
	}, key(id))
	return found, err
}
