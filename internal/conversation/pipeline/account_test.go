package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/conversation/pipeline"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/storage/file"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// directory is a data directory with everything of the record in it, and a recorder that fails when it is told to.
type directory struct {
	t         *testing.T
	journal   *file.Journal
	names     *file.Names
	recorder  event.Recorder
	store     *sqlite.Store
	projector *archive.Projector
	failing   atomic.Bool
	inDoubt   atomic.Bool // says that it failed, and has recorded
	silent    atomic.Bool // has recorded, and does not say so before the caller gives up
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openDirectory(t *testing.T, dir string, key *seal.PrivateKey) *directory {
	t.Helper()
	d, quiet := &directory{t: t}, slog.New(slog.DiscardHandler)
	var err error
	d.journal, _, err = file.Open(dir, file.Options{Clock: clock.System{}})
	must(t, err)
	d.names, err = file.OpenNames(dir)
	must(t, err)
	sealer, err := seal.NewSealer(filepath.Join(dir, "keys"), []*seal.PublicKey{key.Public()}, clock.System{})
	must(t, err)
	d.recorder = journal.NewRecorder(d.journal, sealer, d.names, clock.System{})
	projections, err := sqlite.LoadKey(filepath.Join(dir, "state", "projections.key"))
	must(t, err)
	d.store, err = sqlite.Open(filepath.Join(dir, "projections"), projections, quiet)
	must(t, err)
	opener := seal.NewOpener(filepath.Join(dir, "keys"), key, []*seal.PublicKey{key.Public()})
	d.projector = archive.NewProjector(d.journal, opener, clock.System{}, quiet, d.store)
	return d
}

// Record implements event.Recorder.
func (d *directory) Record(ctx context.Context, events ...*event.Event) error {
	if d.failing.Load() {
		return errors.New("the disk is full")
	}
	err := d.recorder.Record(ctx, events...)
	if d.inDoubt.CompareAndSwap(true, false) {
		return errors.Join(err, errors.New("no answer in time"))
	}
	if d.silent.CompareAndSwap(true, false) {
		<-ctx.Done()
		return errors.Join(err, ctx.Err())
	}
	return err
}

func (d *directory) close() {
	d.t.Helper()
	must(d.t, errors.Join(d.store.Close(), d.names.Close(), d.journal.Close()))
}

// run runs a pipeline while f does, and stops it.
func run(t *testing.T, p *pipeline.Pipeline, f func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	f()
	cancel()
	must(t, <-done)
}

type words struct{}

func (words) Decide(in *policy.Input) event.Verdict {
	if in.Event.Text == "stop" {
		return event.Verdict{Action: event.Quarantine, Rule: "words", Enforced: true}
	}
	return event.Verdict{Action: event.Allow, Rule: "otherwise"}
}

func message(room, text string) *event.Event {
	now := time.Now()
	e := &event.Event{ID: event.NewID(), Kind: event.Message, Time: now, Received: now, From: event.Party{Handle: "alice@example.org"}, Room: event.Room{Name: room}, Content: event.Content{Text: text}}
	if room == "" {
		e.To = []event.Party{{Handle: "bob@example.org"}}
	}
	return e
}

// fates sums the accounts by what became of events, in a room's and in the room-less ones.
func (d *directory) fates() (seen int, by map[string]int) {
	d.t.Helper()
	must(d.t, d.projector.Sync(d.t.Context()))
	accounts, err := d.store.Captures(d.t.Context(), time.Now().Add(-48*time.Hour), time.Now().Add(48*time.Hour))
	must(d.t, err)
	by = map[string]int{}
	for _, c := range accounts {
		where := "room"
		if c.Room == "" {
			where = "direct"
		}
		if c.Connector != "office" {
			where = c.Connector
		}
		seen += c.Seen()
		by[where+" stored"] += c.Stored
		for reason, n := range c.Excluded {
			by[where+" excluded "+reason] += n
		}
		for reason, n := range c.Quarantined {
			by[where+" quarantined "+reason] += n
		}
	}
	return seen, by
}

func (d *directory) want(seen int, want map[string]int) {
	d.t.Helper()
	got, by := d.fates()
	if got != seen || fmt.Sprint(by) != fmt.Sprint(want) {
		d.t.Errorf("%d are accounted for, want %d:\n got %v\nwant %v", got, seen, by, want)
	}
}

// TestTheAccountAddsUpAfterARestart: what was seen is what was stored, excluded and quarantined, also what was only counted, of rooms and of
// direct messages, after restarts, a lost answer of the journal, and a rebuild (law 3).
func TestTheAccountAddsUpAfterARestart(t *testing.T) {
	dir := t.TempDir()
	key, err := seal.GenerateCompliance()
	must(t, err)
	for round := 1; round <= 3; round++ {
		d := openDirectory(t, dir, key)
		p := pipeline.New(pipeline.Config{Connector: "office"}, pipeline.Deps{Policy: words{}, Recorder: d})
		run(t, p, func() {
			for _, room := range []string{"", "desk@rooms.example.org"} {
				must(t, p.Judge(t.Context(), message(room, "hello")))
				must(t, p.Judge(t.Context(), message(room, "stop")))
				p.Exclude("office", room, event.ReasonDuplicate)
				d.failing.Store(true)
				if err := p.Judge(t.Context(), message(room, "refused")); !errors.Is(err, pipeline.ErrNotRecorded) {
					t.Errorf("got %v", err)
				}
				d.failing.Store(false)
			}
			p.Exclude("office", "a room that nobody wrote in", event.ReasonDuplicate)
			d.inDoubt.Store(round == 2) // the last batch of the second round
		})
		if round == 2 { // its acts are recorded, and the answer was lost: the same batch comes again
			run(t, p, func() {})
		}
		wantRound(d, round)
		must(t, d.projector.Rebuild(t.Context()))
		wantRound(d, round)
		d.close()
	}
}

func wantRound(d *directory, n int) {
	d.t.Helper()
	d.want(9*n, map[string]int{"direct stored": n, "room stored": n, "direct quarantined words": n, "room quarantined words": n,
		"direct excluded duplicate": n, "room excluded duplicate": 2 * n, "direct excluded not-recorded": n, "room excluded not-recorded": n})
}

// late returns what was recorded late, in the order of the journal, and the acts that say so.
func (d *directory) late() (texts []string, acts int) {
	d.t.Helper()
	must(d.t, d.projector.Sync(d.t.Context()))
	f := archive.Filter{Kinds: []event.Kind{event.Message, event.Act}, OldestFirst: true}
	for r, err := range d.store.Select(d.t.Context(), f, "") {
		must(d.t, err)
		switch {
		case r.Event.Kind == event.Act && r.Event.Phase == pipeline.ActLate:
			acts++
		case r.Event.Reason == event.ReasonLate:
			texts = append(texts, r.Event.Text)
		}
	}
	return texts, acts
}

// TestSpooledMessagesOutliveTheProgram: what was delivered while the journal failed is recorded, in order and once, although the program
// ended before it could be, also when it ended again between recording and emptying the spool, or while a batch was being recorded.
func TestSpooledMessagesOutliveTheProgram(t *testing.T) {
	dir := t.TempDir()
	key, err := seal.GenerateCompliance()
	must(t, err)
	begin := func() (*directory, *pipeline.Pipeline, *file.Spool) {
		d := openDirectory(t, dir, key)
		spool, err := file.OpenSpool(dir, "office", 1<<20)
		must(t, err)
		return d, pipeline.New(pipeline.Config{Connector: "office", Open: true}, pipeline.Deps{Policy: words{}, Recorder: d, Spool: spool}), spool
	}
	var want []string
	d, p, spool := begin()
	must(t, p.Judge(t.Context(), message("", "before")))
	d.failing.Store(true)
	for i := range 300 { // more than a batch
		e := message([]string{"", "desk@rooms.example.org"}[i%2], fmt.Sprint("message ", i))
		must(t, p.Judge(t.Context(), e))
		want = append(want, e.Text)
	}
	must(t, spool.Close()) // nobody ran the pipeline: as if the program was killed
	d.close()

	d, _, spool = begin() // it is recorded, and the program ends before the spool knows
	events, _, err := spool.Next(200)
	must(t, err)
	must(t, d.Record(t.Context(), events...))
	must(t, spool.Close())
	d.close()

	d, p, spool = begin()
	must(t, p.Judge(t.Context(), message("", "after")))
	d.silent.Store(true)
	run(t, p, func() {
		for d.silent.Load() { // until the first batch is recorded
			time.Sleep(time.Millisecond)
		}
	})
	if got, acts := d.late(); fmt.Sprint(got) != fmt.Sprint(want) || acts != 2 {
		t.Errorf("%d late messages with %d acts: %v", len(got), acts, got)
	}
	if left, _, err := spool.Next(1); err != nil || len(left) != 0 {
		t.Errorf("%d are still spooled (%v)", len(left), err)
	}
	accounts := map[string]int{"direct stored": 2, "room stored": 0, "direct quarantined late": 150, "room quarantined late": 150}
	d.want(302, accounts)
	must(t, d.projector.Rebuild(t.Context()))
	d.want(302, accounts)
	must(t, spool.Close())
	d.close()
}
