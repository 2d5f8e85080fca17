package sqlite

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/search"
)

// maxList bounds the lists that come without pages.
const maxList = 100_000

const talkColumns = "c.id, c.connector, c.room, c.first, c.last, c.messages, c.stopped, c.number"

// Conversations lists conversations, the latest first.
func (s *Store) Conversations(ctx context.Context, who string, page archive.Page) (archive.Part[archive.Conversation], error) {
	var out archive.Part[archive.Conversation]
	last, number, err := parseTalkCursor(page.Cursor)
	if err != nil {
		return out, err
	}
	query := "SELECT " + talkColumns + " FROM conversations c WHERE (c.last, c.number) < (?,?)"
	args := []any{last, number}
	if who != "" {
		folded := search.Fold(who)
		query += ` AND (c.id=? OR c.folded=? OR c.number IN (SELECT m.conversation FROM members m WHERE m.handle=? OR m.handle IN
			(SELECT id FROM handles WHERE folded_person=? OR folded_handle=? OR folded_name=?)))`
		args = append(args, who, folded, who, folded, folded, folded)
	}
	query += " ORDER BY c.last DESC, c.number DESC LIMIT ?"
	err = s.read(ctx, func(c *conn) error {
		numbers, err := talks(c, query, &out.Items, append(args, page.Size()+1)...)
		if err != nil {
			return err
		}
		if n := page.Size(); len(out.Items) > n {
			out.Items = out.Items[:n]
			out.Next = strconv.FormatInt(nanos(out.Items[n-1].Last), 10) + "." + strconv.FormatInt(numbers[n-1], 10)
		}
		return fillHandles(c, out.Items, numbers)
	})
	return out, err
}

// Conversation returns one conversation.
func (s *Store) Conversation(ctx context.Context, id string) (archive.Conversation, error) {
	var found []archive.Conversation
	err := s.read(ctx, func(c *conn) error {
		numbers, err := talks(c, "SELECT "+talkColumns+" FROM conversations c WHERE c.id=?", &found, id)
		if err != nil {
			return err
		}
		return fillHandles(c, found, numbers)
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("conversation %q: %w", id, archive.ErrNotFound)
	}
	if err != nil {
		return archive.Conversation{}, err
	}
	return found[0], nil
}

func parseTalkCursor(s string) (last, number int64, err error) {
	if s == "" {
		return 1<<63 - 1, 1<<63 - 1, nil
	}
	a, b, ok := strings.Cut(s, ".")
	last, errA := strconv.ParseInt(a, 10, 64)
	number, errB := strconv.ParseInt(b, 10, 64)
	if !ok || errA != nil || errB != nil {
		return 0, 0, archive.ErrCursor
	}
	return last, number, nil
}

func talks(c *conn, query string, out *[]archive.Conversation, args ...any) ([]int64, error) {
	var numbers []int64
	err := c.each(query, func(r *sqlite3.Stmt) error {
		*out = append(*out, archive.Conversation{
			ID: r.ColumnText(0), Connector: r.ColumnText(1), Room: r.ColumnText(2), First: fromNanos(r.ColumnInt64(3)), Last: fromNanos(r.ColumnInt64(4)),
			Messages: r.ColumnInt(5), Stopped: r.ColumnInt(6),
		})
		numbers = append(numbers, r.ColumnInt64(7))
		return nil
	}, args...)
	return numbers, err
}

// fillHandles names the two of each direct conversation.
func fillHandles(c *conn, list []archive.Conversation, numbers []int64) error {
	for i := range list {
		if !strings.HasPrefix(list[i].ID, "direct:") {
			continue
		}
		err := c.each("SELECT DISTINCT h.handle FROM members m JOIN handles h ON h.id=m.handle WHERE m.conversation=? ORDER BY h.handle LIMIT 10", func(r *sqlite3.Stmt) error {
			list[i].Handles = append(list[i].Handles, r.ColumnText(0))
			return nil
		}, numbers[i])
		if err != nil {
			return err
		}
	}
	return nil
}

// Handles lists handles: of a person, of that name or id, or all.
func (s *Store) Handles(ctx context.Context, who string) ([]archive.Handle, error) {
	query, args := "SELECT id, connector, handle, name, person, first, last, records FROM handles", []any{}
	if who != "" {
		folded := search.Fold(who)
		query += " WHERE id=? OR folded_person=? OR folded_handle=? OR folded_name=?"
		args = append(args, who, folded, folded, folded)
	}
	var out []archive.Handle
	err := s.read(ctx, func(c *conn) error {
		return c.each(query+" ORDER BY person, connector, handle LIMIT ?", func(r *sqlite3.Stmt) error {
			out = append(out, archive.Handle{
				ID: r.ColumnText(0), Connector: r.ColumnText(1), Handle: r.ColumnText(2), Name: r.ColumnText(3), Person: r.ColumnText(4),
				First: fromNanos(r.ColumnInt64(5)), Last: fromNanos(r.ColumnInt64(6)), Records: r.ColumnInt(7),
			})
			return nil
		}, append(args, maxList)...)
	})
	return out, err
}

// Hosts lists hosts: of a person, of that name, address or id, or all.
func (s *Store) Hosts(ctx context.Context, who string) ([]archive.Host, error) {
	query, args := "SELECT id, name, address, person, first, last, records FROM hosts", []any{}
	if who != "" {
		folded := search.Fold(who)
		query += " WHERE id=? OR folded_name=? OR folded_address=? OR folded_person=?"
		args = append(args, who, folded, folded, folded)
	}
	var out []archive.Host
	err := s.read(ctx, func(c *conn) error {
		return c.each(query+" ORDER BY name, address, person LIMIT ?", func(r *sqlite3.Stmt) error {
			out = append(out, archive.Host{
				ID: r.ColumnText(0), Name: r.ColumnText(1), Address: r.ColumnText(2), Person: r.ColumnText(3),
				First: fromNanos(r.ColumnInt64(4)), Last: fromNanos(r.ColumnInt64(5)), Records: r.ColumnInt(6),
			})
			return nil
		}, append(args, maxList)...)
	})
	return out, err
}

// Sightings lists messengers seen, the latest first.
func (s *Store) Sightings(ctx context.Context, f archive.SightingFilter) ([]archive.Sighting, error) {
	query := `SELECT app, host, name, address, person, network, endpoint, first, last, confidence, action, rule FROM sightings
		WHERE (?='' OR app=?) AND (?='' OR host=? OR name=? COLLATE NOCASE OR address=?) AND (?='' OR person=? COLLATE NOCASE) ORDER BY last DESC LIMIT ?`
	var out []archive.Sighting
	err := s.read(ctx, func(c *conn) error {
		return c.each(query, func(r *sqlite3.Stmt) error {
			out = append(out, archive.Sighting{
				App: r.ColumnText(0), Host: archive.Host{ID: r.ColumnText(1), Name: r.ColumnText(2), Address: r.ColumnText(3), Person: r.ColumnText(4)},
				Person: r.ColumnText(4), Network: r.ColumnInt(5), Endpoint: r.ColumnInt(6),
				First: fromNanos(r.ColumnInt64(7)), Last: fromNanos(r.ColumnInt64(8)), Confidence: event.Confidence(r.ColumnInt(9)),
				Action: event.Action(r.ColumnText(10)), Rule: r.ColumnText(11),
			})
			return nil
		}, f.App, f.App, f.Host, f.Host, f.Host, f.Host, f.Person, f.Person, maxList)
	})
	return out, err
}

// Verdicts counts records by day, kind and verdict in [from, to).
func (s *Store) Verdicts(ctx context.Context, from, to time.Time) ([]archive.DayCount, error) {
	var out []archive.DayCount
	err := s.read(ctx, func(c *conn) error {
		return c.each("SELECT day, kind, action, records FROM days WHERE day>=? AND day<? ORDER BY day, kind, action", func(r *sqlite3.Stmt) error {
			out = append(out, archive.DayCount{Day: r.ColumnText(0), Kind: event.Kind(r.ColumnText(1)), Action: event.Action(r.ColumnText(2)), Records: r.ColumnInt(3)})
			return nil
		}, day(from), dayAfter(to))
	})
	return out, err
}

// Captures returns the accounts of the days in [from, to).
func (s *Store) Captures(ctx context.Context, from, to time.Time) ([]archive.Capture, error) {
	var out []archive.Capture
	err := s.read(ctx, func(c *conn) error {
		return c.each("SELECT day, connector, room, class, reason, records FROM captures WHERE day>=? AND day<? ORDER BY day, connector, room", func(r *sqlite3.Stmt) error {
			k := archive.Capture{Day: r.ColumnText(0), Connector: r.ColumnText(1), Room: r.ColumnText(2)}
			if n := len(out); n == 0 || out[n-1].Day != k.Day || out[n-1].Connector != k.Connector || out[n-1].Room != k.Room {
				k.Excluded, k.Quarantined = map[string]int{}, map[string]int{}
				out = append(out, k)
			}
			last := &out[len(out)-1]
			switch r.ColumnText(3) {
			case excluded:
				last.Excluded[r.ColumnText(4)] = r.ColumnInt(5)
			case quarantined:
				last.Quarantined[r.ColumnText(4)] = r.ColumnInt(5)
			default:
				last.Stored = r.ColumnInt(5)
			}
			return nil
		}, day(from), dayAfter(to))
	})
	return out, err
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// dayAfter returns the first day that is not in [.., t).
func dayAfter(t time.Time) string { return day(t.Add(24*time.Hour - 1)) }

// Apps sums the sightings by messenger, the latest first.
func (s *Store) Apps(ctx context.Context) ([]archive.AppCount, error) {
	var out []archive.AppCount
	err := s.read(ctx, func(c *conn) error {
		return c.each(`SELECT app, count(DISTINCT host||name||address), count(DISTINCT nullif(person,'')), sum(network+endpoint), sum(action IN ('block','hold','quarantine')),
			min(first), max(last) FROM sightings GROUP BY app ORDER BY max(last) DESC`, func(r *sqlite3.Stmt) error {
			out = append(out, archive.AppCount{App: r.ColumnText(0), Hosts: r.ColumnInt(1), People: r.ColumnInt(2), Records: r.ColumnInt(3), Blocked: r.ColumnInt(4),
				First: fromNanos(r.ColumnInt64(5)), Last: fromNanos(r.ColumnInt64(6))})
			return nil
		})
	})
	return out, err
}
