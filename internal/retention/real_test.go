package retention_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/search"
	"github.com/chaperone-im/chaperone/internal/storage/file"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// directory is a data directory with the real journal, seal, names and projections.
type directory struct {
	journal   *file.Journal
	names     *file.Names
	store     *sqlite.Store
	recorder  *journal.Recorder
	projector *archive.Projector
	opener    *seal.TreeOpener
}

func openDirectory(t testing.TB, dir string, key *seal.PrivateKey) *directory {
	t.Helper()
	d := &directory{}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	d.journal, _, err = file.Open(dir, file.Options{Clock: clock.System{}})
	must(err)
	d.names, err = file.OpenNames(dir)
	must(err)
	keys := []*seal.PublicKey{key.Public()}
	sealer, err := seal.NewSealer(filepath.Join(dir, "keys"), keys, clock.System{})
	must(err)
	d.opener = seal.NewOpener(filepath.Join(dir, "keys"), key, keys)
	projections, err := sqlite.LoadKey(filepath.Join(dir, "state", "projections.key"))
	must(err)
	d.store, err = sqlite.Open(filepath.Join(dir, "projections"), projections, slog.New(slog.DiscardHandler))
	must(err)
	d.recorder = journal.NewRecorder(d.journal, sealer, d.names, clock.System{})
	d.projector = archive.NewProjector(d.journal, d.opener, clock.System{}, slog.New(slog.DiscardHandler), d.store)
	must(d.projector.Sync(t.Context()))
	return d
}

func (d *directory) close(t testing.TB) {
	t.Helper()
	for _, err := range []error{d.store.Close(), d.names.Close(), d.journal.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
}

func (d *directory) keeper(t *testing.T) (*retention.Holds, *retention.Keeper) {
	t.Helper()
	holds, err := retention.NewHolds(t.Context(), d.store, d.store, d.recorder, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	k, err := retention.NewKeeper(t.Context(), retention.Config{Holds: holds, Records: d.store, Places: d.store, Frames: retention.FramesOf{Reader: d.journal}, Eraser: d.opener, Acts: d.recorder,
		Sync: d.projector.Sync, ClassOf: func(*event.Event) (retention.Class, bool) {
			return retention.Class{ID: "d", Days: 9, Request: true}, true
		}, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	return holds, k
}

// answers runs queries, and keeps what they find.
func (d *directory) answers(t *testing.T) map[string][]event.ID {
	t.Helper()
	out := map[string][]event.ID{}
	for _, q := range []string{"*", "number", `"number 7"`, "from:alice@example.org", "room:desk@rooms.example.org", "numb* NOT from:bob@example.org", "kind:act"} {
		e, err := search.Parse(q)
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range d.store.Find(t.Context(), e, "") {
			if err != nil {
				t.Fatal(err)
			}
			out[q] = append(out[q], r.Event.ID)
		}
	}
	return out
}

// TestErasedForGood erases one record of a real data directory: its neighbours in frame and room stay readable, a hold prevents it, and
// neither a restart nor a rebuild brings it back or changes what searches find.
func TestErasedForGood(t *testing.T) {
	dir := t.TempDir()
	key, err := seal.GenerateCompliance()
	if err != nil {
		t.Fatal(err)
	}
	d := openDirectory(t, dir, key)
	var batch []*event.Event
	for i := range 20 {
		who := []string{"alice", "bob"}[i%2]
		batch = append(batch, &event.Event{ID: event.NewID(), Kind: event.Message, Connector: "office", From: event.Party{Handle: who + "@example.org", Person: who},
			Room: event.Room{Name: "desk@rooms.example.org"}, Verdict: event.Verdict{Action: event.Allow}, Content: event.Content{Text: fmt.Sprintf("number %d", i)}})
	}
	if err := d.recorder.Record(t.Context(), batch...); err != nil {
		t.Fatal(err)
	}
	holds, keeper := d.keeper(t)
	victim := batch[7].ID
	if err := holds.Place(t.Context(), "carl", "case", "litigation", person("bob")); err != nil {
		t.Fatal(err)
	}
	if _, err := keeper.Erase(t.Context(), "carl", victim, "x"); err == nil {
		t.Fatal("a held record was taken")
	}
	if err := holds.Release(t.Context(), "carl", "case", "settled"); err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{"carl", "dora"} {
		if _, err := keeper.Erase(t.Context(), by, victim, "x"); err != nil {
			t.Fatal(err)
		}
	}
	before := d.answers(t)
	check := func() {
		t.Helper()
		for i, e := range batch {
			r, err := d.store.Record(t.Context(), e.ID)
			if err != nil || r.Erased != (e.ID == victim) || !r.Erased && r.Event.Text != fmt.Sprintf("number %d", i) {
				t.Errorf("record %d is %+v (%v)", i, r.Event, err)
			}
		}
		if after := d.answers(t); !reflect.DeepEqual(before, after) {
			t.Errorf("answers differ:\n%v\n%v", before, after)
		}
	}
	check()
	if len(before[`"number 7"`]) != 0 || len(before["number"]) != 19 || len(before["*"]) != 20 {
		t.Errorf("answers are %v", before)
	}
	if err := d.projector.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	check()
	d.close(t)
	d = openDirectory(t, dir, key)
	defer d.close(t)
	check()
}

// TestDisposedBytesLeaveTheJournal disposes of records whose time is over, seals dropped, and rebuilds from what remains.
func TestDisposedBytesLeaveTheJournal(t *testing.T) {
	dir := t.TempDir()
	key, err := seal.GenerateCompliance()
	if err != nil {
		t.Fatal(err)
	}
	d := openDirectory(t, dir, key)
	defer d.close(t)
	var batch []*event.Event
	for i := range 6 {
		batch = append(batch, &event.Event{ID: event.NewID(), Kind: event.Message, Source: event.SourceImport, Time: time.Now().AddDate(0, 0, -20*(i%2)), Connector: "office",
			From: event.Party{Handle: "alice@example.org"}, Room: event.Room{Name: "desk"}, Content: event.Content{Text: fmt.Sprintf("number %d", i)}})
	}
	if err := d.recorder.Record(t.Context(), batch...); err != nil {
		t.Fatal(err)
	}
	_, keeper := d.keeper(t)
	keeper.Detach = d.journal.Detach
	did, err := keeper.Dispose(t.Context(), "carl", "schedule", false)
	if err != nil || did.Disposed != 3 {
		t.Fatalf("disposal is %+v (%v)", did, err)
	}
	frame, err := retention.FramesOf{Reader: d.journal}.Frame(t.Context(), journal.Local, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range frame.Records {
		if (len(r.Sealed) == 0) != (i%2 == 1) {
			t.Errorf("record %d has %d sealed bytes", i, len(r.Sealed))
		}
	}
	before := d.answers(t)
	if err := d.projector.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := d.answers(t); !reflect.DeepEqual(before, after) || len(before["number"]) != 3 {
		t.Errorf("answers differ:\n%v\n%v", before, after)
	}
}

// BenchmarkFollow measures what a rebuild costs: read, unseal and apply real records.
func BenchmarkFollow(b *testing.B) {
	key, err := seal.GenerateCompliance()
	if err != nil {
		b.Fatal(err)
	}
	d := openDirectory(b, b.TempDir(), key)
	defer d.close(b)
	const n = 20_000
	for i := 0; i < n; i += 500 {
		var batch []*event.Event
		for k := range 500 {
			batch = append(batch, &event.Event{ID: event.NewID(), Kind: event.Message, Connector: "office", Time: time.Unix(int64(1_700_000_000+i+k), 0),
				From: event.Party{Handle: fmt.Sprintf("p%d@example.org", k%50)}, Room: event.Room{Name: fmt.Sprintf("room%d@rooms.example.org", k%20)}, Verdict: event.Verdict{Action: event.Allow, Rule: "otherwise"},
				Content: event.Content{Text: "let's take this offline before the board meets, said number " + fmt.Sprint(i+k), Raw: make([]byte, 300)}})
		}
		if err := d.recorder.Record(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := d.projector.Rebuild(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
}
