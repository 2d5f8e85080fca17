package sqlite

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/observation"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/search"
)

// ObservationsName is the name of the file of observations in its folder.
const ObservationsName = "observations.db"

// Observations is the file of observations, encrypted as the projections are. It implements observation.Store and archive.Observations. The
// journal does not hold what it holds: a file that cannot be used is set aside, not removed.
type Observations struct{ store *Store }

// observationsVersion changes with the tables and the codec of their bodies.
const observationsVersion = 1

const observationTables = `
CREATE TABLE machines(
	number INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, address TEXT NOT NULL, person TEXT NOT NULL,
	folded_name TEXT NOT NULL, folded_person TEXT NOT NULL, UNIQUE(name, address, person));
CREATE TABLE observations(
	number INTEGER PRIMARY KEY, same BLOB NOT NULL UNIQUE, first INTEGER NOT NULL, last INTEGER NOT NULL, machine INTEGER NOT NULL,
	kind TEXT NOT NULL, app TEXT NOT NULL, action TEXT NOT NULL, times INTEGER NOT NULL, packets INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX observations_first ON observations(first, number);
CREATE INDEX observations_machine ON observations(machine, first, number);
CREATE TABLE hours(
	hour INTEGER NOT NULL, kind TEXT NOT NULL, app TEXT NOT NULL, action TEXT NOT NULL,
	times INTEGER NOT NULL, packets INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY(hour, kind, app, action)) WITHOUT ROWID;
PRAGMA user_version=%d;
`

// OpenObservations opens the file of observations in a folder, made when missing. A file of another version or key, or that is damaged, is
// set aside beside a new one: path says where, "" when there was no need.
func OpenObservations(dir string, key []byte, log *slog.Logger) (o *Observations, aside string, err error) {
	s, err := newStore(filepath.Join(dir, ObservationsName), key, log, prepareObservations)
	if err != nil {
		return nil, "", fmt.Errorf("open observations: %w", err)
	}
	w, err := s.openWriter()
	if err != nil && Unusable(err) {
		if aside, err = setAside(s.path); err == nil {
			w, err = s.openWriter()
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("open observations: %w", err)
	}
	s.begin(w)
	return &Observations{s}, aside, nil
}

// setAside moves an unusable file away. There is one such place: what was there before is replaced.
func setAside(path string) (string, error) {
	aside := path + ".unusable"
	if err := os.Rename(path, aside); err != nil {
		return "", err
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return aside, nil
}

func prepareObservations(c *conn) (err error) {
	version, empty := 0, true
	if err := c.each("PRAGMA user_version", func(r *sqlite3.Stmt) error { version = r.ColumnInt(0); return nil }); err != nil {
		return err
	}
	if err := c.each("SELECT 1 FROM sqlite_schema LIMIT 1", func(*sqlite3.Stmt) error { empty = false; return nil }); err != nil {
		return err
	}
	switch {
	case version == observationsVersion:
		return nil
	case !empty:
		return fmt.Errorf("observations: version %d, want %d: %w", version, observationsVersion, errSchema)
	}
	tx, err := c.BeginImmediate()
	if err != nil {
		return err
	}
	defer tx.End(&err)
	return c.Exec(fmt.Sprintf(observationTables, observationsVersion))
}

// Close closes the file.
func (o *Observations) Close() error { return o.store.Close() }

// Add implements observation.Store.
func (o *Observations) Add(ctx context.Context, batch []observation.Entry) (added int64, err error) {
	err = o.store.write(ctx, func(c *conn) error {
		last := int64(0)
		if err := c.each("SELECT coalesce(max(number), 0) FROM observations", func(r *sqlite3.Stmt) error { last = r.ColumnInt64(0); return nil }); err != nil {
			return err
		}
		machines := map[event.Host]int64{}
		for i := range batch {
			isNew, err := addObservation(c, &batch[i], machines, &last)
			if err != nil {
				return err
			}
			if isNew {
				added++
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("add observations: %w", err)
	}
	return added, nil
}

// addObservation adds one entry. It is new when its number is higher than the last one, which it then is.
func addObservation(c *conn, e *observation.Entry, machines map[event.Host]int64, last *int64) (isNew bool, err error) {
	machine, ok := machines[e.Event.Host]
	if !ok {
		if machine, err = machineOf(c, e.Event.Host); err != nil {
			return false, err
		}
		machines[e.Event.Host] = machine
	}
	bare := *e.Event
	bare.Host = event.Host{}
	body, err := encode(&bare)
	if err != nil {
		return false, err
	}
	packets, octets := e.Traffic()
	same := sha256.Sum256(strconv.AppendInt(append([]byte(e.Same), 0), e.Hour().Unix(), 10))
	err = c.each(`INSERT INTO observations(same, first, last, machine, kind, app, action, times, packets, bytes, body) VALUES(?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT(same) DO UPDATE SET first=min(first, excluded.first), last=max(last, excluded.last), times=times+excluded.times,
		packets=packets+excluded.packets, bytes=bytes+excluded.bytes RETURNING number`,
		func(r *sqlite3.Stmt) error {
			number := r.ColumnInt64(0)
			isNew = number > *last
			*last = max(*last, number)
			return nil
		},
		same[:], nanos(e.Event.Time), nanos(e.Last), machine, string(e.Event.Kind), e.Event.App(), string(e.Event.Verdict.Action), e.Times, packets, octets, body)
	return isNew, err
}

// machineOf returns the number of a machine, of which there is one row for each name, address and person that it had.
func machineOf(c *conn, h event.Host) (number int64, err error) {
	err = c.each(`INSERT INTO machines(id, name, address, person, folded_name, folded_person) VALUES(?,?,?,?,?,?)
		ON CONFLICT(name, address, person) DO UPDATE SET id=iif(excluded.id='', id, excluded.id) RETURNING number`,
		func(r *sqlite3.Stmt) error { number = r.ColumnInt64(0); return nil },
		h.ID, h.Name, h.Address, h.Person, search.Fold(h.Name), search.Fold(h.Person))
	return number, err
}

// Count implements observation.Store.
func (o *Observations) Count(ctx context.Context, batch []observation.Entry) error {
	err := o.store.write(ctx, func(c *conn) error {
		for i := range batch {
			e := &batch[i]
			packets, octets := e.Traffic()
			if err := c.exec(addToHour, e.Hour().Unix(), string(e.Event.Kind), e.Event.App(), string(e.Event.Verdict.Action), e.Times, packets, octets); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count observations: %w", err)
	}
	return nil
}

const addToHour = `INSERT INTO hours(hour, kind, app, action, times, packets, bytes) VALUES(?,?,?,?,?,?,?) ` + sumHour
const sumHour = `ON CONFLICT(hour, kind, app, action) DO UPDATE SET times=times+excluded.times, packets=packets+excluded.packets, bytes=bytes+excluded.bytes`

// Size implements observation.Store.
func (o *Observations) Size(ctx context.Context) (entries int64, oldest time.Time, err error) {
	err = o.store.read(ctx, func(c *conn) error {
		return c.each("SELECT count(*), coalesce(min(first), 0) FROM observations", func(r *sqlite3.Stmt) error {
			if entries = r.ColumnInt64(0); entries > 0 {
				oldest = fromNanos(r.ColumnInt64(1))
			}
			return nil
		})
	})
	return entries, oldest, err
}

// Oldest implements observation.Store.
func (o *Observations) Oldest(ctx context.Context, n int64) (time.Time, error) {
	var t time.Time
	err := o.store.read(ctx, func(c *conn) error {
		return c.each("SELECT first FROM observations ORDER BY first, number LIMIT 1 OFFSET ?", func(r *sqlite3.Stmt) error {
			t = fromNanos(r.ColumnInt64(0))
			return nil
		}, n)
	})
	return t, err
}

// Fold implements observation.Store. The pages that held names are overwritten (secure_delete), and the log of the file is emptied.
func (o *Observations) Fold(ctx context.Context, before time.Time, held func(event.Host) (bool, error), confirm func(observation.Folded) error) (observation.Folded, error) {
	var done observation.Folded
	err := o.store.write(ctx, func(c *conn) error {
		f := folding{c: c, limit: nanos(before)}
		if err := f.spare(held); err != nil {
			return err
		}
		if err := f.count(); err != nil || f.done.Entries == 0 {
			done = f.done
			return err
		}
		if err := f.drop(); err != nil {
			return err
		}
		done = f.done
		return confirm(done)
	})
	if err != nil {
		return observation.Folded{}, fmt.Errorf("fold observations: %w", err)
	}
	if done.Entries > 0 {
		err = o.emptyLog(ctx)
	}
	return done, err
}

// folding is one run of Fold.
type folding struct {
	c     *conn
	limit int64
	done  observation.Folded
}

// spare notes the machines that are held in the table spared.
func (f *folding) spare(held func(event.Host) (bool, error)) error {
	if err := f.c.Exec("CREATE TEMP TABLE IF NOT EXISTS spared(machine INTEGER PRIMARY KEY); DELETE FROM temp.spared"); err != nil {
		return err
	}
	var numbers []int64
	var hosts []event.Host
	err := f.c.each("SELECT number, id, name, address, person FROM machines WHERE number IN (SELECT machine FROM observations WHERE first<?)", func(r *sqlite3.Stmt) error {
		numbers = append(numbers, r.ColumnInt64(0))
		hosts = append(hosts, event.Host{ID: r.ColumnText(1), Name: r.ColumnText(2), Address: r.ColumnText(3), Person: r.ColumnText(4)})
		return nil
	}, f.limit)
	for i := range hosts {
		if err != nil {
			return err
		}
		var is bool
		if is, err = held(hosts[i]); err == nil && is {
			err = f.c.exec("INSERT INTO temp.spared VALUES(?)", numbers[i])
		}
	}
	return err
}

const foldable = " FROM observations WHERE first<? AND machine NOT IN (SELECT machine FROM temp.spared)"

func (f *folding) count() error {
	err := f.c.each("SELECT count(*), coalesce(sum(times), 0), coalesce(min(first), 0)"+foldable, func(r *sqlite3.Stmt) error {
		f.done.Entries, f.done.Times = r.ColumnInt64(0), r.ColumnInt64(1)
		if f.done.Entries > 0 {
			f.done.From = fromNanos(r.ColumnInt64(2)).Truncate(time.Hour)
		}
		return nil
	}, f.limit)
	if err != nil {
		return err
	}
	return f.c.each("SELECT count(*) FROM observations WHERE first<? AND machine IN (SELECT machine FROM temp.spared)", func(r *sqlite3.Stmt) error {
		f.done.Held = r.ColumnInt64(0)
		return nil
	}, f.limit)
}

func (f *folding) drop() error {
	const hour = int64(time.Hour)
	if err := f.c.exec(`INSERT INTO hours(hour, kind, app, action, times, packets, bytes)
		SELECT first/?*3600 AS h, kind, app, action, sum(times), sum(packets), sum(bytes)`+foldable+` GROUP BY h, kind, app, action `+sumHour, hour, f.limit); err != nil {
		return err
	}
	if err := f.c.exec("DELETE"+foldable, f.limit); err != nil {
		return err
	}
	return f.c.exec("DELETE FROM machines WHERE number NOT IN (SELECT machine FROM observations)")
}

// emptyLog brings the write-ahead log into the file and empties it.
func (o *Observations) emptyLog(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case w, open := <-o.store.writer:
		if !open {
			return errClosed
		}
		defer func() { o.store.writer <- w }()
		return w.with(ctx, func(c *conn) error { return c.Exec("PRAGMA wal_checkpoint(TRUNCATE)") })
	}
}

// observedChunk is how many observations are fetched at once.
const observedChunk = 500

// Observed implements archive.Observations.
func (o *Observations) Observed(ctx context.Context, f archive.ObservedFilter, cursor string) iter.Seq2[archive.SelectedObservation, error] {
	return func(yield func(archive.SelectedObservation, error) bool) {
		for {
			chunk, err := o.observed(ctx, f, cursor)
			if err != nil {
				yield(archive.SelectedObservation{}, err)
				return
			}
			for _, s := range chunk {
				if !yield(s, nil) {
					return
				}
				cursor = s.Cursor
			}
			if len(chunk) < observedChunk {
				return
			}
		}
	}
}

func (o *Observations) observed(ctx context.Context, f archive.ObservedFilter, cursor string) ([]archive.SelectedObservation, error) {
	query, args := `SELECT o.number, o.kind, o.last, o.times, o.packets, o.bytes, o.body, m.id, m.name, m.address, m.person, o.first
		FROM observations o JOIN machines m ON m.number=o.machine WHERE 1`, []any{}
	where := func(clause string, values ...any) { query, args = query+" AND "+clause, append(args, values...) }
	if cursor != "" {
		var first, number int64
		if n, err := fmt.Sscanf(cursor, "%d.%d", &first, &number); n != 2 || err != nil {
			return nil, archive.ErrCursor
		}
		where("(o.first, o.number)<(?, ?)", first, number)
	}
	if f.Host != "" {
		where("o.machine IN (SELECT number FROM machines WHERE id=? OR folded_name=? OR address=? OR folded_person=?)",
			f.Host, search.Fold(f.Host), strings.TrimSpace(f.Host), search.Fold(f.Host))
	}
	if f.App != "" {
		where("o.app=?", f.App)
	}
	if !f.After.IsZero() {
		where("o.first>=?", nanos(f.After))
	}
	if !f.Before.IsZero() {
		where("o.first<?", nanos(f.Before))
	}
	var out []archive.SelectedObservation
	err := o.store.read(ctx, func(c *conn) error {
		return c.each(query+" ORDER BY o.first DESC, o.number DESC LIMIT ?", func(r *sqlite3.Stmt) error {
			s, err := decodeObservation(r)
			out = append(out, s)
			return err
		}, append(args, observedChunk)...)
	})
	return out, err
}

func decodeObservation(r *sqlite3.Stmt) (archive.SelectedObservation, error) {
	var b body
	if err := event.ParseCanonical(r.ColumnRawBlob(6), &b); err != nil {
		return archive.SelectedObservation{}, err
	}
	e := b.event(event.Kind(r.ColumnText(1)))
	e.Time = fromNanos(r.ColumnInt64(11))
	e.Host = event.Host{ID: r.ColumnText(7), Name: r.ColumnText(8), Address: r.ColumnText(9), Person: r.ColumnText(10)}
	if e.Flow != nil {
		e.Flow.Packets, e.Flow.Bytes = r.ColumnInt64(4), r.ColumnInt64(5)
	}
	return archive.SelectedObservation{Cursor: fmt.Sprintf("%d.%d", r.ColumnInt64(11), r.ColumnInt64(0)),
		Observed: archive.Observed{Event: e, Last: fromNanos(r.ColumnInt64(2)), Times: r.ColumnInt64(3)}}, nil
}

// Hours implements archive.Observations.
func (o *Observations) Hours(ctx context.Context, from, to time.Time) ([]archive.HourCount, error) {
	var out []archive.HourCount
	err := o.store.read(ctx, func(c *conn) error {
		return c.each("SELECT hour, kind, app, action, times, packets, bytes FROM hours WHERE hour>=? AND hour<? ORDER BY hour, kind, app, action", func(r *sqlite3.Stmt) error {
			out = append(out, archive.HourCount{Hour: time.Unix(r.ColumnInt64(0), 0).UTC(), Kind: event.Kind(r.ColumnText(1)), App: r.ColumnText(2),
				Action: event.Action(r.ColumnText(3)), Times: r.ColumnInt64(4), Packets: r.ColumnInt64(5), Bytes: r.ColumnInt64(6)})
			return nil
		}, from.Unix(), to.Unix())
	})
	return out, err
}
