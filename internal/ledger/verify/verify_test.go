package verify_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
)

var signed = time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC)

// store is a data directory and what was kept outside of it.
type store struct {
	dir    string
	key    *ledger.Key
	frames []journal.Frame
	bundle string // file
	note   string // file
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStore(t testing.TB, frames, records, streams int) *store {
	t.Helper()
	list, err := ledgertest.Frames(frames, records, streams)
	check(t, err)
	return build(t, list)
}

func build(t testing.TB, list []journal.Frame) *store {
	t.Helper()
	s := &store{dir: t.TempDir()}
	var err error
	s.key, err = ledger.LoadOrCreateKey(filepath.Join(s.dir, "keys"), "chaperone/test", func() time.Time { return signed })
	check(t, err)
	s.frames, err = ledgertest.Build(s.dir, s.key, list)
	check(t, err)
	s.keep(t)
	return s
}

// keep takes the bundle and the bare checkpoint of the store as it is now.
func (s *store) keep(t testing.TB) {
	t.Helper()
	b, err := ledgertest.BundleOf(s.key, s.frames, 0)
	check(t, err)
	raw, err := b.Encode()
	check(t, err)
	outside := t.TempDir()
	s.bundle, s.note = filepath.Join(outside, "bundle.json"), filepath.Join(outside, "note")
	check(t, os.WriteFile(s.bundle, raw, 0o644))
	check(t, os.WriteFile(s.note, []byte(b.Checkpoint), 0o644))
}

func (s *store) verify(t testing.TB, checkpoint string) *verify.Result {
	t.Helper()
	r, err := verify.Verify(context.Background(), s.dir, verify.Options{Checkpoint: checkpoint})
	check(t, err)
	return r
}

func TestGoodStore(t *testing.T) {
	for _, c := range []struct{ frames, records, streams int }{{0, 0, 1}, {1, 1, 1}, {3, 2, 1}, {255, 1, 1}, {256, 1, 2}, {257, 1, 3}, {700, 3, 4}} {
		s := newStore(t, c.frames, c.records, c.streams)
		if r := s.verify(t, ""); r.Verdict != verify.Consistent || r.Words != "CONSISTENT, NOT PROVEN" {
			t.Errorf("%v without a checkpoint: %s %v", c, r.Words, r.Findings)
		}
		for _, outside := range []string{s.bundle, s.note, filepath.Dir(s.bundle)} {
			r := s.verify(t, outside)
			if r.Words != "PROVEN since 2026-01-02T04:00:00Z" || r.Records != uint64(c.frames*c.records) || r.Ledger != uint64(c.frames) {
				t.Errorf("%v with %s: %s %+v", c, filepath.Base(outside), r.Words, r)
			}
		}
	}
}

func TestOpenWindow(t *testing.T) {
	s := newStore(t, 4, 1, 1)
	all, err := ledgertest.Build(t.TempDir(), s.key, append(slices.Clone(s.frames), s.frames[0]))
	check(t, err)
	path := filepath.Join(s.dir, "journal", journal.Local, "00000000000000000001.seg")
	old, err := os.ReadFile(path)
	check(t, err)
	next, err := journal.EncodeFrame(nil, &all[4])
	check(t, err)
	check(t, os.WriteFile(path, slices.Concat(old, next), 0o600))
	if r := s.verify(t, s.bundle); r.Verdict != verify.Proven || r.Uncommitted != 1 {
		t.Errorf("a frame that is not in the ledger yet: %+v", r)
	}
	check(t, os.WriteFile(path, slices.Concat(old, next[:len(next)-9]), 0o600))
	if r := s.verify(t, s.bundle); r.Verdict != verify.Proven || len(r.Notes) != 1 {
		t.Errorf("a torn frame that is not in the ledger yet: %+v", r)
	}
}

// TestEveryByte flips every byte of journal and ledger of a small store: each must be found. There are no harmless bytes. (Under the race
// detector it flips some, unless CHAPERONE_SOAK is set.)
func TestEveryByte(t *testing.T) {
	s := newStore(t, 3, 2, 2)
	for _, folder := range []string{"journal", "ledger"} {
		check(t, filepath.WalkDir(filepath.Join(s.dir, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			s.flipAll(t, path)
			return nil
		}))
	}
}

func (s *store) flipAll(t *testing.T, path string) {
	good, err := os.ReadFile(path)
	check(t, err)
	every := stride
	if os.Getenv("CHAPERONE_SOAK") != "" {
		every = 1
	}
	for i := rand.IntN(every); i < len(good); i += every {
		bad := slices.Clone(good)
		bad[i] ^= byte(1 + rand.IntN(255))
		check(t, os.WriteFile(path, bad, 0o600))
		if r := s.verify(t, s.bundle); r.Verdict != verify.Broken {
			t.Errorf("%s: byte %d flipped to %x: %s", path, i, bad[i], r.Words)
		}
	}
	check(t, os.WriteFile(path, good, 0o600))
}

// TestFlippedOutsideCopy flips every byte of what was kept outside. A bare checkpoint is then refused or contradicts the store; of a bundle
// only words that prove nothing may differ: its name for the key and the records' ids.
func TestFlippedOutsideCopy(t *testing.T) {
	s := newStore(t, 2, 1, 1)
	for _, path := range []string{s.note, s.bundle} {
		good, err := os.ReadFile(path)
		check(t, err)
		for i := range good {
			bad := slices.Clone(good)
			bad[i] ^= 1
			check(t, os.WriteFile(path, bad, 0o600))
			r, err := verify.Verify(context.Background(), s.dir, verify.Options{Checkpoint: path})
			if err == nil && r.Verdict == verify.Proven && (path == s.note || !sameProof(t, good, bad)) {
				t.Errorf("byte %d of %s flipped: %v", i, path, r.Words)
			}
		}
		check(t, os.WriteFile(path, good, 0o600))
	}
}

// sameProof compares what of two bundles proves something.
func sameProof(t *testing.T, a, b []byte) bool {
	var x, y ledger.Bundle
	check(t, json.Unmarshal(a, &x))
	check(t, json.Unmarshal(b, &y))
	for i := range min(len(x.Frames), len(y.Frames)) {
		if x.Frames[i].Head != y.Frames[i].Head || !slices.Equal(x.Frames[i].Hashes, y.Frames[i].Hashes) {
			return false
		}
	}
	return x.Checkpoint == y.Checkpoint && len(x.Frames) == len(y.Frames)
}

func TestDisposal(t *testing.T) {
	list, err := ledgertest.Frames(3, 2, 1)
	check(t, err)
	dispose := func(refers string) journal.Record {
		r, err := ledgertest.Record(900, func(e *event.Event) {
			e.Kind, e.Phase, e.Refers = event.Act, "record.dispose", event.ID(refers)
			e.Room, e.Content = event.Room{}, event.Content{Act: &event.ActDetail{Action: "record.dispose"}}
		})
		check(t, err)
		return r
	}
	list[0].Records[1].Sealed = nil
	s := build(t, list)
	r := s.verify(t, s.bundle)
	if r.Verdict != verify.Broken || r.Findings[0].Kind != verify.ContentMissing || r.Findings[0].Record != "019b0000-0000-7000-8000-000000000001" || r.Findings[0].Position != 2 {
		t.Errorf("content gone without certificate: %+v", r)
	}
	list[2].Records = append(list[2].Records, dispose("019b0000-0000-7000-8000-000000000001"))
	s = build(t, list)
	if r := s.verify(t, s.bundle); r.Verdict != verify.Proven || r.Disposed != 1 {
		t.Errorf("content gone with certificate: %+v", r)
	}
}

func TestObjects(t *testing.T) {
	list, err := ledgertest.Frames(1, 1, 1)
	check(t, err)
	rec, err := ledgertest.Record(50, func(e *event.Event) {
		e.Kind, e.Files = event.FileUpload, []event.File{{Object: "o1", Sealed: event.Digest([]byte("sealed file"))}}
	})
	check(t, err)
	list[0].Records = append(list[0].Records, rec)
	s := build(t, list)
	if r := s.verify(t, s.bundle); r.Verdict != verify.Proven || len(r.Notes) != 1 {
		t.Errorf("objects kept elsewhere: %+v", r)
	}
	for _, c := range []struct{ content, kind string }{{"sealed file", ""}, {"other", verify.ObjectChanged}, {"", verify.ObjectMissing}} {
		folder := filepath.Join(s.dir, "objects")
		check(t, os.RemoveAll(folder))
		check(t, os.MkdirAll(folder, 0o700))
		if c.content != "" {
			check(t, os.WriteFile(filepath.Join(folder, "o1"), []byte(c.content), 0o600))
		}
		r := s.verify(t, s.bundle)
		if c.kind == "" && (r.Verdict != verify.Proven || r.Objects != 1) || c.kind != "" && (r.Verdict != verify.Broken || r.Findings[0].Kind != c.kind || r.Findings[0].Record == "") {
			t.Errorf("object %q: %+v", c.content, r)
		}
	}
}

// TestPauses: after each MiB of frames, and after each record that brought files.
func TestPauses(t *testing.T) {
	list, err := ledgertest.Frames(6, 1, 1)
	check(t, err)
	for i := range list {
		list[i].Records[0], err = ledgertest.Record(i, func(e *event.Event) {
			e.Text = strings.Repeat("x", 1<<19)
			if i == 5 {
				e.Kind, e.Files = event.FileUpload, []event.File{{Object: "o1", Sealed: event.Digest([]byte("sealed file"))}}
			}
		})
		check(t, err)
	}
	s := build(t, list)
	pauses := 0
	r, err := verify.Verify(t.Context(), s.dir, verify.Options{Pause: func() { pauses++ }})
	check(t, err)
	if r.Verdict == verify.Broken || pauses < 2 || pauses > 4 {
		t.Errorf("%d pauses in 3 MiB and one file: %+v", pauses, r)
	}
}

func TestNoLedger(t *testing.T) {
	s := newStore(t, 2, 1, 1)
	check(t, os.RemoveAll(filepath.Join(s.dir, "ledger")))
	if r := s.verify(t, ""); r.Verdict != verify.Broken {
		t.Errorf("a ledger that was removed: %s", r.Words)
	}
	check(t, os.RemoveAll(filepath.Join(s.dir, "keys")))
	if r := s.verify(t, ""); r.Verdict != verify.Consistent || len(r.Notes) != 1 {
		t.Errorf("a store that never had a ledger: %s", r.Words)
	}
	if r := s.verify(t, s.bundle); r.Verdict != verify.Broken {
		t.Errorf("the same, given a bundle: %s", r.Words)
	}
	if _, err := verify.Verify(context.Background(), t.TempDir(), verify.Options{}); err == nil {
		t.Error("an empty folder was verified")
	}
}

func TestWords(t *testing.T) {
	s := newStore(t, 3, 2, 1)
	check(t, ledgertest.Tamper(s.dir, "019b0000-0000-7000-8000-000000000003", s.key))
	for outside, want := range map[string]string{
		"":       "CONSISTENT, NOT PROVEN\n",
		s.note:   "checkpoint-differs: differs from the checkpoint of 2026-01-02T04:00:00Z, place unknown\n",
		s.bundle: "record-removed: record 019b0000-0000-7000-8000-000000000003, stream local, frame 2, position 2: the outside copy has it, the store has not\n",
	} {
		var b strings.Builder
		check(t, s.verify(t, outside).WriteText(&b))
		if !strings.Contains(b.String(), want) {
			t.Errorf("with %q:\n%s", filepath.Base(outside), b.String())
		}
	}
}
