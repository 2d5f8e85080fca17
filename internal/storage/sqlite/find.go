package sqlite

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/search"
)

// Find yields the records that match a query, newest first by time, then by id.
func (s *Store) Find(ctx context.Context, e *search.Expr, cursor string) iter.Seq2[archive.Selected, error] {
	return s.run(ctx, searchScan(e), cursor)
}

// searchScan is a scan for what searches find: acts and deliveries only where they are asked for.
func searchScan(e *search.Expr) scan {
	sc := newScan(e)
	switch asks, only := e.Administrative(); {
	case only:
		sc.bases = []int64{adminBase}
	case asks:
		sc.bases = []int64{0, adminBase}
		sc.clause.exact = false
		sc.keep = func(r row) bool { return e.Finds(search.TermsOf(r.Record), r.Event.Time) }
	}
	return sc
}

// Count returns how many records match a query.
func (s *Store) Count(ctx context.Context, e *search.Expr) (int, error) {
	sc := searchScan(e)
	n := 0
	if sc.clause.sense == never {
		return 0, nil
	}
	if !sc.clause.exact {
		for _, err := range s.run(ctx, sc, "") {
			if err != nil {
				return 0, err
			}
			n++
		}
		return n, nil
	}
	err := s.read(ctx, func(c *conn) error {
		for _, base := range sc.bases {
			add := func(r *sqlite3.Stmt) error { n += r.ColumnInt(0); return nil }
			var err error
			switch {
			case sc.clause.sense == every && sc.whole():
				err = c.each("SELECT coalesce(sum(records), 0) FROM days WHERE (kind IN (?,?))=?", add, string(event.Act), string(event.Delivery), base == adminBase)
			case sc.clause.sense == every:
				err = c.each("SELECT count(*) FROM events WHERE slot>=? AND slot<?", add, base+sc.low, base+sc.high)
			default:
				err = c.each("SELECT count(*) FROM terms WHERE terms MATCH ? AND rowid>=? AND rowid<?", add, sc.clause.text, base+sc.low, base+sc.high)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// Select yields the records of a filter.
func (s *Store) Select(ctx context.Context, f archive.Filter, cursor string) iter.Seq2[archive.Selected, error] {
	e := exprOf(f)
	sc := newScan(e)
	sc.oldest = f.OldestFirst
	sc.bases = basesOf(f.Kinds)
	if f.Conversation == "" {
		return s.run(ctx, sc, cursor)
	}
	return func(yield func(archive.Selected, error) bool) {
		number, err := s.conversationNumber(ctx, f.Conversation)
		if err != nil {
			yield(archive.Selected{}, err)
			return
		}
		sc.conversation = number
		sc.keep = func(r row) bool { return e.Match(search.TermsOf(r.Record), r.Event.Time) }
		for r, err := range s.run(ctx, sc, cursor) {
			if !yield(r, err) {
				return
			}
		}
	}
}

func (s *Store) conversationNumber(ctx context.Context, id string) (int64, error) {
	n := int64(0)
	err := s.read(ctx, func(c *conn) error {
		return c.each("SELECT number FROM conversations WHERE id=?", func(r *sqlite3.Stmt) error { n = r.ColumnInt64(0); return nil }, id)
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("conversation %q: %w", id, archive.ErrNotFound)
	}
	return n, err
}

func basesOf(kinds []event.Kind) []int64 {
	if len(kinds) == 0 {
		return []int64{0}
	}
	var ordinary, admin bool
	for _, k := range kinds {
		if administrative(k) {
			admin = true
		} else {
			ordinary = true
		}
	}
	var out []int64
	if ordinary {
		out = append(out, 0)
	}
	if admin {
		out = append(out, adminBase)
	}
	return out
}

// exprOf makes a query of a filter.
func exprOf(f archive.Filter) *search.Expr {
	all := &search.Expr{Op: search.And}
	addFacets(all, "kind", f.Kinds)
	addFacets(all, "person", f.Who)
	addFacets(all, "verdict", f.Actions)
	addFacets(all, "rule", f.Rules)
	addFacets(all, "app", f.Apps)
	addFacets(all, "act", f.Acts)
	addFacets(all, "connector", f.Connectors)
	rooms := &search.Expr{Op: search.Or}
	for _, r := range f.Rooms { // a room's id is among those concerned
		rooms.Args = append(rooms.Args, facet("room", r), facet("person", r))
	}
	if len(rooms.Args) > 0 {
		all.Args = append(all.Args, rooms)
	}
	if !f.After.IsZero() {
		all.Args = append(all.Args, &search.Expr{Op: search.After, Time: f.After})
	}
	if !f.Before.IsZero() {
		all.Args = append(all.Args, &search.Expr{Op: search.Before, Time: f.Before})
	}
	return all
}

func facet(field, value string) *search.Expr {
	return &search.Expr{Op: search.Facet, Field: field, Value: search.Fold(value)}
}

func addFacets[T ~string](to *search.Expr, field string, values []T) {
	if len(values) == 0 {
		return
	}
	any := &search.Expr{Op: search.Or}
	for _, v := range values {
		any.Args = append(any.Args, facet(field, string(v)))
	}
	to.Args = append(to.Args, any)
}

// Record returns the record of an event.
func (s *Store) Record(ctx context.Context, id event.ID) (archive.Record, error) {
	var found *row
	err := s.read(ctx, func(c *conn) (err error) {
		found, err = findRow(c, id)
		return err
	})
	if err == nil && found == nil {
		err = fmt.Errorf("record %s: %w", id, archive.ErrNotFound)
	}
	if err != nil {
		return archive.Record{}, err
	}
	return found.Record, nil
}

// Places returns where an event was recorded: once, or again where an answer of the journal was lost.
func (s *Store) Places(ctx context.Context, id event.ID) ([]journal.Position, error) {
	return s.places(ctx, "SELECT stream, sequence, record FROM events WHERE id=?1 UNION ALL SELECT stream, sequence, number FROM copies WHERE record=?1", key(id))
}

// Bringing returns where the records are that name a sealed file.
func (s *Store) Bringing(ctx context.Context, object string) ([]journal.Position, error) {
	return s.places(ctx, `SELECT e.stream, e.sequence, e.record FROM objects o JOIN events e ON e.id=o.record WHERE o.name=?1
		UNION ALL SELECT c.stream, c.sequence, c.number FROM objects o JOIN copies c ON c.record=o.record WHERE o.name=?1`, object)
}

func (s *Store) places(ctx context.Context, query string, of any) ([]journal.Position, error) {
	var out []journal.Position
	err := s.read(ctx, func(c *conn) error {
		return c.each(query, func(r *sqlite3.Stmt) error {
			out = append(out, journal.Position{Stream: r.ColumnText(0), Sequence: uint64(r.ColumnInt64(1)), Record: r.ColumnInt(2)})
			return nil
		}, of)
	})
	return out, err
}

// maxReferring bounds the records that Referring returns.
const maxReferring = 10_000

// Referring returns the records that refer to an event, directly or through others, in the order of time.
func (s *Store) Referring(ctx context.Context, id event.ID) ([]archive.Record, error) {
	var out []archive.Record
	err := s.read(ctx, func(c *conn) error {
		return c.each("SELECT "+columns+" FROM events e WHERE e.root=? AND e.root<>x'' ORDER BY e.slot & ? , e.slot LIMIT ?", func(r *sqlite3.Stmt) error {
			decoded, err := decodeRow(r)
			out = append(out, decoded.Record)
			return err
		}, key(id), adminBase-1, maxReferring)
	})
	return out, err
}

// place is where a list stands: behind the record of that time and id.
type place struct {
	time time.Time
	id   event.ID
}

func (p place) String() string {
	return p.time.UTC().Format(event.TimeLayout) + "," + string(p.id)
}

func parsePlace(s string) (place, error) {
	at, id, ok := strings.Cut(s, ",")
	t, err := time.Parse(event.TimeLayout, at)
	if !ok || err != nil {
		return place{}, archive.ErrCursor
	}
	return place{t, event.ID(id)}, nil
}
