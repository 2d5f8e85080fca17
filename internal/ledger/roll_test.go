package ledger_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
)

// plain records events without seals into the test journal, as the real recorder does with them.
type plain struct {
	j    *ledgertest.Journal
	now  func() time.Time
	acts []*event.ActDetail
}

func (p *plain) Record(_ context.Context, events ...*event.Event) error {
	f := journal.Frame{Head: journal.Head{Stream: journal.Local, Time: p.now()}}
	for _, e := range events {
		if e.Received.IsZero() {
			e.Received = p.now()
		}
		if e.Act != nil {
			p.acts = append(p.acts, e.Act)
		}
		h, content, err := e.Split(event.NewSalt())
		if err != nil {
			return err
		}
		h.Sealed = event.Digest(content)
		raw, err := event.Canonical(&h)
		if err != nil {
			return err
		}
		f.Records = append(f.Records, journal.Record{Header: raw, Sealed: content})
	}
	return p.j.Append(f)
}

// days is a journal, its roller and a clock to set.
type days struct {
	t   *testing.T
	dir string
	now time.Time
	rec *plain
	n   int
}

func newDays(t *testing.T) *days {
	d := &days{t: t, dir: t.TempDir(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	j, err := ledgertest.OpenJournal(d.dir)
	check(t, err)
	d.rec = &plain{j: j, now: func() time.Time { return d.now }}
	return d
}

func (d *days) message(edit func(*event.Event)) {
	d.t.Helper()
	d.n++
	e := &event.Event{ID: event.ID(fmt.Sprintf("m%d", d.n)), Kind: event.Message, Time: d.now, Room: event.Room{ID: "r1"}, From: event.Party{ID: "h1"}}
	if edit != nil {
		edit(e)
	}
	check(d.t, d.rec.Record(context.Background(), e))
}

// roll opens the roller anew, as after a restart, and rolls.
func (d *days) roll(want int) {
	d.t.Helper()
	ro, err := ledger.NewRoller(d.dir, d.rec.j, d.rec, []byte("roll key"), d.rec.now, slog.New(slog.DiscardHandler))
	check(d.t, err)
	n, err := ro.Roll(context.Background())
	check(d.t, err)
	if n != want {
		d.t.Errorf("%s: %d rolls, want %d", d.now.Format(time.DateTime), n, want)
	}
}

// reasons returns what the rolls in the journal say, in order.
func (d *days) reasons() []string {
	var out []string
	for f := range d.rec.j.Frames(context.Background(), journal.Local, 1) {
		for _, r := range f.Records {
			if h, err := event.ParseHeader(r.Header); err == nil && h.Phase == ledger.RollPhase {
				out = append(out, h.Time.Format(time.DateOnly)+" "+h.Reason)
			}
		}
	}
	return out
}

func TestDayRolls(t *testing.T) {
	d := newDays(t)
	d.message(nil)
	d.message(func(e *event.Event) { e.Room, e.To = event.Room{}, []event.Party{{ID: "h2"}} })
	d.roll(1) // yesterday, empty
	d.roll(0)
	d.now = d.now.Add(12*time.Hour + time.Minute)
	d.message(nil)
	d.roll(0) // not before the grace is over
	d.now = d.now.Add(2 * time.Minute)
	d.roll(1)
	d.message(func(e *event.Event) { e.Source, e.Time = event.SourceImport, d.now.AddDate(0, 0, -1) })
	d.message(func(e *event.Event) { e.Source, e.Time = event.SourceImport, d.now.AddDate(0, 0, -9) })
	d.message(func(e *event.Event) { e.Source, e.Time = event.SourceImport, d.now.AddDate(1, 0, 0) }) // from the future: the day of receipt
	d.now = d.now.AddDate(0, 0, 1)
	d.roll(3)
	check(t, os.Remove(filepath.Join(d.dir, "state", "rolls.json")))
	d.roll(0) // made again from the journal
	want := []string{"2026-02-28 roll=1 records=0 through=2", "2026-03-01 roll=1 records=2 through=4", "2026-02-21 roll=1 records=1 through=8",
		"2026-03-01 roll=2 records=1 through=8", "2026-03-02 roll=1 records=2 through=8"}
	if got := d.reasons(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("rolls:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	d.tallies()
	d.verified()
}

// tallies checks what the second roll, of two messages, commits to.
func (d *days) tallies() {
	var headers [][]byte
	for f := range d.rec.j.Frames(context.Background(), journal.Local, 1) {
		if f.Head.Sequence <= 2 {
			headers = append(headers, f.Records[0].Header)
		}
	}
	want, err := ledger.TallyDay([]byte("roll key"), headers)
	check(d.t, err)
	if want["handle h1"].Count != 2 || want["handle h2"].Count != 1 || want["room r1"].Count != 1 || len(want) != 3 {
		d.t.Errorf("tallies: %v", want)
	}
	for _, f := range d.rec.acts[1].Details {
		if w := want[f.Name]; f.Value != fmt.Sprintf("%d %s", w.Count, w.Root) {
			d.t.Errorf("%s: %s, want %v", f.Name, f.Value, w)
		}
	}
	other, err := ledger.TallyDay([]byte("another key"), append(headers[1:], headers[0]))
	check(d.t, err)
	same, err := ledger.TallyDay([]byte("roll key"), append(headers[1:], headers[0]))
	check(d.t, err)
	if same["handle h1"] != want["handle h1"] || other["handle h2"] != want["handle h2"] {
		d.t.Error("a root depends on the order of the records")
	}
}

// verified checks that the verifier counts the same, and misses a record that is gone although nothing is kept outside.
func (d *days) verified() {
	key, err := ledger.LoadOrCreateKey(filepath.Join(d.dir, "keys"), "chaperone/test", time.Now)
	check(d.t, err)
	check(d.t, ledgertest.Rewrite(d.dir, key, func(f []journal.Frame) ([]journal.Frame, error) { return f, nil }))
	r, err := verify.Verify(context.Background(), d.dir, verify.Options{})
	check(d.t, err)
	if r.Verdict != verify.Consistent || r.Rolls != 5 || len(r.Notes) != 1 {
		d.t.Errorf("%+v", r)
	}
	check(d.t, ledgertest.Rewrite(d.dir, key, func(f []journal.Frame) ([]journal.Frame, error) {
		f[1].Records = nil
		return f, nil
	}))
	r, err = verify.Verify(context.Background(), d.dir, verify.Options{})
	check(d.t, err)
	if r.Verdict != verify.Broken || r.Findings[0].Kind != verify.RollDiffers || !strings.Contains(r.Findings[0].Detail, "counts 2 records, the store has 1") {
		d.t.Errorf("a record of a closed day is gone: %+v", r)
	}
}

func TestRollerRuns(t *testing.T) {
	d := newDays(t)
	d.message(nil)
	ro, err := ledger.NewRoller(d.dir, d.rec.j, d.rec, []byte("roll key"), d.rec.now, slog.New(slog.DiscardHandler))
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { ro.Run(ctx); close(done) }()
	until(t, "the empty roll of yesterday", func() bool { return len(d.reasons()) == 1 })
	cancel()
	<-done
	check(t, os.WriteFile(filepath.Join(d.dir, "state", "rolls.json"), []byte("{"), 0o600))
	if _, err := ledger.NewRoller(d.dir, d.rec.j, d.rec, nil, d.rec.now, nil); err == nil {
		t.Error("a damaged memory was accepted")
	}
}
