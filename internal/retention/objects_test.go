package retention_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/storage/object"
)

// shelf is an object store that can be told to fail, or that the program ends.
type shelf struct {
	*object.Store
	fail error
}

func (s *shelf) Delete(ctx context.Context, name string) error {
	if s.fail != nil {
		return s.fail
	}
	return s.Store.Delete(ctx, name)
}

// files is a data directory with sealed files.
type files struct {
	*directory
	t     *testing.T
	dir   string
	shelf *shelf
}

func openFiles(t *testing.T) (*files, *seal.PrivateKey) {
	t.Helper()
	key, err := seal.GenerateCompliance()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	store, err := object.Open(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &files{openDirectory(t, dir, key), t, dir, &shelf{Store: store}}, key
}

// upload records a file that is so many days old, and, when room is not "", a message there that names it and is as old as it says.
func (f *files) upload(days int, from, room string, messageDays int) (event.File, []event.ID) {
	f.t.Helper()
	file := event.File{Name: "plan.txt"}
	if err := f.shelf.Put(f.t.Context(), &file, strings.NewReader("the plan of "+from)); err != nil {
		f.t.Fatal(err)
	}
	old := func(kind event.Kind, days int, room string) *event.Event {
		return &event.Event{ID: event.NewID(), Kind: kind, Source: event.SourceImport, Time: time.Now().AddDate(0, 0, -days), Connector: "office",
			From: event.Party{Handle: from + "@example.org", Person: from}, Room: event.Room{Name: room}, Content: event.Content{Files: []event.File{file}}}
	}
	events := []*event.Event{old(event.FileUpload, days, "")}
	if room != "" {
		events = append(events, old(event.Message, messageDays, room))
	}
	var ids []event.ID
	for _, e := range events {
		if err := f.recorder.Record(f.t.Context(), e); err != nil {
			f.t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	if err := f.projector.Sync(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return file, ids
}

func (f *files) keep() (*retention.Holds, *retention.Keeper) {
	f.t.Helper()
	holds, k := f.keeper(f.t)
	k.Detach, k.Objects = f.journal.Detach, f.shelf
	return holds, k
}

func (f *files) there(file event.File) bool {
	f.t.Helper()
	r, err := f.shelf.Get(f.t.Context(), &file)
	if errors.Is(err, object.ErrNotFound) {
		return false
	}
	if err != nil {
		f.t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); err != nil {
		f.t.Fatal(err)
	}
	return true
}

// sound fails the test when somebody who verifies without keys would miss something.
func (f *files) sound() {
	f.t.Helper()
	r, err := verify.Verify(f.t.Context(), f.dir, verify.Options{})
	if err != nil || r.Verdict == verify.Broken {
		f.t.Errorf("verify: %+v (%v)", r, err)
	}
}

func TestFilesOfDisposedRecordsAreDeleted(t *testing.T) {
	f, _ := openFiles(t)
	defer f.close(t)
	alone, _ := f.upload(20, "alice", "", 0)
	young, _ := f.upload(1, "alice", "", 0)
	sent, _ := f.upload(20, "alice", "desk", 20)
	named, _ := f.upload(20, "alice", "desk", 1) // by a message that lives longer
	held, heldIDs := f.upload(20, "bob", "", 0)
	inHeldRoom, _ := f.upload(20, "carol", "board", 20)
	holds, k := f.keep()
	if err := holds.Place(t.Context(), "dora", "case-7", "litigation", person("bob"), retention.Scope{Kind: retention.Room, Name: "board"}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Dispose(t.Context(), "carl", "schedule", true); err != nil || !f.there(alone) {
		t.Fatalf("a dry run deletes (%v)", err)
	}
	for range 2 { // again, nothing more happens
		if _, err := k.Dispose(t.Context(), "carl", "schedule", false); err != nil {
			t.Fatal(err)
		}
		for what, c := range map[string]struct {
			file event.File
			want bool
		}{"alone": {alone, false}, "young": {young, true}, "sent": {sent, false}, "named by a younger message": {named, true}, "held": {held, true},
			"named in a held room": {inHeldRoom, true}} {
			if f.there(c.file) != c.want {
				t.Errorf("%s: there %v", what, !c.want)
			}
		}
		f.sound()
	}
	if _, err := k.Erase(t.Context(), "erin", heldIDs[0], "asked"); err == nil || !f.there(held) {
		t.Errorf("a held file: %v", err)
	}
	if err := f.projector.Rebuild(t.Context()); err != nil { // what names files comes back from the headers
		t.Fatal(err)
	}
	if err := holds.Release(t.Context(), "dora", "case-7", "settled"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Dispose(t.Context(), "carl", "schedule", false); err != nil || f.there(held) || f.there(inHeldRoom) || !f.there(named) {
		t.Errorf("after the release: %v", err)
	}
	f.sound()
}

// TestDisposalOfFilesIsFinished: whatever the program did not come to is done at the next start, and a hold placed meanwhile prevents it.
func TestDisposalOfFilesIsFinished(t *testing.T) {
	for _, held := range []bool{false, true} {
		t.Run(fmt.Sprint("held ", held), func(t *testing.T) {
			f, key := openFiles(t)
			file, _ := f.upload(20, "alice", "", 0)
			other, _ := f.upload(20, "bob", "desk", 20)
			f.upload(1, "bob", "", 0) // whose handle is known by it
			_, k := f.keep()
			f.shelf.fail = errors.New("the program ends here")
			if held {
				k.Detach = func(context.Context, map[uint64][]int) error { return f.shelf.fail }
			}
			if _, err := k.Dispose(t.Context(), "carl", "schedule", false); !errors.Is(err, f.shelf.fail) || !f.there(file) {
				t.Fatalf("disposal: %v", err)
			}
			f.sound()
			f.shelf.fail = nil
			f.close(t)
			f.directory = openDirectory(t, f.dir, key)
			defer f.close(t)
			holds, err := retention.NewHolds(t.Context(), f.store, f.store, f.recorder, k.Clock)
			if err != nil {
				t.Fatal(err)
			}
			if held {
				if err := holds.Place(t.Context(), "dora", "case-7", "litigation", person("bob")); err != nil {
					t.Fatal(err)
				}
			}
			start := func() {
				t.Helper()
				c := k.Config
				c.Holds, c.Records, c.Places, c.Frames, c.Eraser, c.Acts, c.Sync = holds, f.store, f.store, retention.FramesOf{Reader: f.journal}, f.opener, f.recorder, f.projector.Sync
				c.Detach = f.journal.Detach
				if _, err := retention.NewKeeper(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			start()
			if f.there(file) || f.there(other) != held {
				t.Errorf("after the next start: %v %v", f.there(file), f.there(other))
			}
			f.sound()
			if !held {
				return
			}
			if err := holds.Release(t.Context(), "dora", "case-7", "settled"); err != nil {
				t.Fatal(err)
			}
			start()
			if f.there(other) {
				t.Error("what was held is never finished")
			}
			f.sound()
		})
	}
}

// TestARecordThatIsThereTwiceIsDestroyedTwice: where an answer of the journal was lost the same event is recorded again.
func TestARecordThatIsThereTwiceIsDestroyedTwice(t *testing.T) {
	f, _ := openFiles(t)
	defer f.close(t)
	e := &event.Event{ID: event.NewID(), Kind: event.Message, Source: event.SourceImport, Time: time.Now().AddDate(0, 0, -20), Connector: "office", Reason: event.ReasonLate,
		From: event.Party{Handle: "alice@example.org"}, Room: event.Room{Name: "desk"}, Content: event.Content{Text: "twice"}}
	for range 2 {
		again := *e
		if err := f.recorder.Record(t.Context(), &again); err != nil {
			t.Fatal(err)
		}
	}
	_, k := f.keep()
	if did, err := k.Dispose(t.Context(), "carl", "schedule", false); err != nil || did.Disposed != 1 {
		t.Fatalf("%+v, %v", did, err)
	}
	for _, sequence := range []uint64{1, 2} {
		frame, err := retention.FramesOf{Reader: f.journal}.Frame(t.Context(), journal.Local, sequence)
		if err != nil || len(frame.Records[0].Sealed) != 0 {
			t.Errorf("copy %d is still there (%v)", sequence, err)
		}
	}
	f.sound()
	if _, err := f.store.Record(t.Context(), e.ID); err != nil {
		t.Error(err)
	}
	if places, err := f.store.Places(t.Context(), "no such record"); err != nil || len(places) != 0 {
		t.Errorf("%v %v", places, err)
	}
	ends := 0
	for r, err := range f.store.Select(t.Context(), archive.Filter{Kinds: []event.Kind{event.Act}, Acts: []string{archive.ActDisposed}}, "") {
		if err != nil || r.Event.Act.Object == "" {
			t.Error(err, r.Event)
		}
		ends++
	}
	if ends != 1 {
		t.Errorf("%d ends", ends)
	}
}
