package sqlite

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/search"
)

// scan is a walk over rows in the order of time.
type scan struct {
	bases        []int64 // 0 and adminBase, or one of them
	low, high    int64   // slots from the base, whole seconds
	clause       clause
	conversation int64
	oldest       bool
	keep         func(row) bool // what the clause cannot say; nil keeps all
}

// Rows fetched at a time: few at first, for those who want few.
const (
	firstChunk = 64
	lastChunk  = 1024
)

func newScan(e *search.Expr) scan {
	rest, exact := withoutSpan(e)
	sc := scan{bases: []int64{0}, high: (maxSecond + 1) << slotBits, clause: translate(rest, false)}
	from, to := e.Span()
	if !from.IsZero() {
		sc.low = secondOf(from)
	}
	if !to.IsZero() {
		sc.high = secondOf(to.Add(time.Second - 1))
		if to.Unix() <= 0 {
			sc.high = 1 << slotBits
		}
	}
	sc.clause.exact = sc.clause.exact && exact
	if !sc.clause.exact {
		sc.keep = func(r row) bool { return e.Match(search.TermsOf(r.Record), r.Event.Time) }
	}
	return sc
}

// whole reports whether the scan is over all of time.
func (sc *scan) whole() bool { return sc.low == 0 && sc.high == (maxSecond+1)<<slotBits }

// withoutSpan returns the query without those after: and before: that hold for all of it, and whether the range of slots says them exactly.
func withoutSpan(e *search.Expr) (*search.Expr, bool) {
	switch {
	case isTime(e):
		return &search.Expr{Op: search.All}, wholeSecond(e.Time)
	case e.Op != search.And:
		return e, true
	}
	out, exact := &search.Expr{Op: search.And}, true
	for _, a := range e.Args {
		rest, ok := withoutSpan(a)
		exact = exact && ok
		out.Args = append(out.Args, rest)
	}
	return out, exact
}

func isTime(e *search.Expr) bool { return e.Op == search.After || e.Op == search.Before }

// wholeSecond reports whether slots can tell what is before t from what is not.
func wholeSecond(t time.Time) bool {
	return t.Nanosecond() == 0 && t.Unix() > 0 && t.Unix() <= maxSecond
}

// run yields the rows of a scan in order, from the cursor on.
func (s *Store) run(ctx context.Context, sc scan, cursor string) iter.Seq2[archive.Selected, error] {
	return func(yield func(archive.Selected, error) bool) {
		if sc.clause.sense == never {
			return
		}
		var from *place
		if cursor != "" {
			p, err := parsePlace(cursor)
			if err != nil {
				yield(archive.Selected{}, err)
				return
			}
			from = &p
			sc.resume(p)
		}
		for r, err := range s.merged(ctx, sc) {
			if err != nil {
				yield(archive.Selected{}, err)
				return
			}
			here := place{r.Event.Time, r.Event.ID}
			if from != nil && sc.compare(here, *from) <= 0 || sc.keep != nil && !sc.keep(r) {
				continue
			}
			if !yield(archive.Selected{Record: r.Record, Cursor: here.String()}, nil) {
				return
			}
		}
	}
}

// resume narrows the scan to what can come after p.
func (sc *scan) resume(p place) {
	if sc.oldest {
		sc.low = max(sc.low, secondOf(p.time))
	} else {
		sc.high = min(sc.high, secondOf(p.time)+1<<slotBits)
	}
}

// compare orders places as the scan does.
func (sc *scan) compare(a, b place) int {
	c := a.time.Compare(b.time)
	if c == 0 {
		c = cmp.Compare(a.id, b.id)
	}
	if !sc.oldest {
		c = -c
	}
	return c
}

// merged yields the rows of all bases in order.
func (s *Store) merged(ctx context.Context, sc scan) iter.Seq2[row, error] {
	if len(sc.bases) == 1 {
		return s.walk(ctx, sc, sc.bases[0])
	}
	return func(yield func(row, error) bool) {
		nextA, stopA := iter.Pull2(s.walk(ctx, sc, sc.bases[0]))
		defer stopA()
		nextB, stopB := iter.Pull2(s.walk(ctx, sc, sc.bases[1]))
		defer stopB()
		a, errA, okA := nextA()
		b, errB, okB := nextB()
		for okA || okB {
			first := okA && (!okB || errA != nil || errB == nil && sc.compare(placeOf(a), placeOf(b)) <= 0)
			if first {
				if !yield(a, errA) || errA != nil {
					return
				}
				a, errA, okA = nextA()
				continue
			}
			if !yield(b, errB) || errB != nil {
				return
			}
			b, errB, okB = nextB()
		}
	}
}

func placeOf(r row) place { return place{r.Event.Time, r.Event.ID} }

// walk yields the rows of one base in order. It fetches chunks, and between them holds nothing.
func (s *Store) walk(ctx context.Context, sc scan, base int64) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		low, high := base+sc.low, base+sc.high
		for chunk := firstChunk; low < high; chunk = min(2*chunk, lastChunk) {
			rows, err := s.chunk(ctx, sc, low, high, chunk)
			if err != nil {
				yield(row{}, err)
				return
			}
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
			if len(rows) < chunk {
				return
			}
			last := rows[len(rows)-1].slot >> slotBits << slotBits
			if sc.oldest {
				low = last + 1<<slotBits
			} else {
				high = last
			}
		}
	}
}

// chunk fetches about n rows between two slots: whole seconds, each in its order.
func (s *Store) chunk(ctx context.Context, sc scan, low, high int64, n int) ([]row, error) {
	var out []row
	err := s.read(ctx, func(c *conn) (err error) {
		if out, err = sc.fetch(c, low, high, n); err != nil || len(out) < n {
			return err
		}
		last := out[n-1].slot // the rest of its second
		low, high := last>>slotBits<<slotBits, last
		if sc.oldest {
			low, high = last+1, (last>>slotBits+1)<<slotBits
		}
		rest, err := sc.fetch(c, low, high, 1<<slotBits)
		out = append(out, rest...)
		return err
	})
	slices.SortStableFunc(out, func(a, b row) int {
		if d := cmp.Compare(a.slot>>slotBits, b.slot>>slotBits); d != 0 {
			if sc.oldest {
				return d
			}
			return -d
		}
		return sc.compare(placeOf(a), placeOf(b))
	})
	return out, err
}

func (sc *scan) fetch(c *conn, low, high int64, n int) ([]row, error) {
	query, args := "SELECT "+columns+" FROM events e WHERE e.slot>=? AND e.slot<? ORDER BY e.slot", []any{low, high}
	switch {
	case sc.conversation != 0:
		query = "SELECT " + columns + " FROM events e WHERE e.conversation=? AND e.slot>=? AND e.slot<? ORDER BY e.slot"
		args = []any{sc.conversation, low, high}
	case sc.clause.sense == some:
		query = "SELECT " + columns + " FROM terms CROSS JOIN events e ON e.slot=terms.rowid WHERE terms MATCH ? AND terms.rowid>=? AND terms.rowid<? ORDER BY terms.rowid"
		args = []any{sc.clause.text, low, high}
	}
	if !sc.oldest {
		query += " DESC"
	}
	var out []row
	err := c.each(query+" LIMIT ?", func(r *sqlite3.Stmt) error {
		decoded, err := decodeRow(r)
		out = append(out, decoded)
		return err
	}, append(args, n)...)
	return out, err
}
