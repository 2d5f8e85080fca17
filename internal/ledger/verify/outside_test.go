package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
)

// drop writes what a recipient would have after bundles at these sizes, as files of a folder.
func (s *store) drop(t testing.TB, sizes ...int) string {
	t.Helper()
	dir, from := t.TempDir(), 0
	for i, size := range sizes {
		b, err := ledgertest.BundleOf(s.key, s.frames[:size], from)
		check(t, err)
		raw, err := b.Encode()
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", len(sizes)-i)), raw, 0o644))
		from = size
	}
	return dir
}

func TestManyBundles(t *testing.T) {
	s := newStore(t, 300, 2, 2)
	dir := s.drop(t, 0, 1, 10, 255, 256, 257, 290)
	if r := s.verify(t, dir); r.Verdict != verify.Proven || r.Checkpoints != 7 || len(r.Outside) != 1 || r.Outside[0].Size != 290 {
		t.Fatalf("%+v", r)
	}
	var lines bytes.Buffer
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	check(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		check(t, err)
		lines.Write(b)
	}
	one := filepath.Join(t.TempDir(), "all.jsonl")
	check(t, os.WriteFile(one, lines.Bytes(), 0o644))
	check(t, ledgertest.Tamper(s.dir, "019b0000-0000-7000-8000-000000000519", s.key))
	for _, outside := range []string{dir, one} {
		r := s.verify(t, outside)
		if r.Verdict != verify.Broken || r.Findings[0].Record != "019b0000-0000-7000-8000-000000000519" || r.Findings[0].Sequence != 130 {
			t.Errorf("%s: %v", outside, r.Findings)
		}
	}
	agree(t, s, dir)
	agree(t, s, one)
}

// TestPartOfTheBundles holds that a change before the frames whose hashes are at hand is found, though not named.
func TestPartOfTheBundles(t *testing.T) {
	s := newStore(t, 40, 2, 1)
	dir := s.drop(t, 20, 40)
	check(t, os.Remove(filepath.Join(dir, "2.json"))) // the first
	if r := s.verify(t, dir); r.Verdict != verify.Proven {
		t.Fatalf("%+v", r)
	}
	check(t, ledgertest.Rewrite(s.dir, s.key, func(f []journal.Frame) ([]journal.Frame, error) {
		f[3].Records = f[3].Records[:1]
		return f, nil
	}))
	r := s.verify(t, dir)
	if r.Verdict != verify.Broken || !slices.ContainsFunc(r.Findings, func(f verify.Finding) bool { return f.Kind == verify.CheckpointDiffers }) {
		t.Errorf("%+v", r.Findings)
	}
	agree(t, s, dir)
}

func TestKeys(t *testing.T) {
	s, other := newStore(t, 2, 1, 1), newStore(t, 2, 1, 1)
	ask := func(o verify.Options) string {
		r, err := verify.Verify(context.Background(), s.dir, o)
		if err != nil {
			return "error: " + err.Error()
		}
		return r.Words + fmt.Sprint(r.Findings)
	}
	for _, c := range []struct {
		o    verify.Options
		want string
	}{
		{verify.Options{Checkpoint: s.bundle, Key: s.key.Verifier()}, verify.Proven},
		{verify.Options{Checkpoint: s.note, Key: s.key.Verifier()}, verify.Proven},
		{verify.Options{Key: other.key.Verifier()}, verify.CheckpointInvalid},
		{verify.Options{Checkpoint: s.bundle, Key: other.key.Verifier()}, "error: "},
		{verify.Options{Checkpoint: s.bundle, Key: "nonsense"}, "error: "},
		{verify.Options{Checkpoint: other.bundle}, "the ledger's key is not the one"},
		{verify.Options{Checkpoint: other.note}, "was not signed by the key of this ledger"},
	} {
		if got := ask(c.o); !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s", c.o, got)
		}
	}
	// Somebody exchanges the key and signs the same history anew.
	key, err := ledger.LoadOrCreateKey(t.TempDir(), "chaperone/test", time.Now)
	check(t, err)
	check(t, ledgertest.Rewrite(s.dir, key, func(f []journal.Frame) ([]journal.Frame, error) { return f, nil }))
	for _, outside := range []string{s.bundle, s.note} {
		if got := ask(verify.Options{Checkpoint: outside}); !strings.HasPrefix(got, verify.Broken) {
			t.Errorf("with another key: %s", got)
		}
	}
}

func TestOutsideThatIsNone(t *testing.T) {
	s := newStore(t, 2, 1, 1)
	good, err := os.ReadFile(s.bundle)
	check(t, err)
	for name, content := range map[string]string{
		"empty": "", "text": "hello\n", "another object": `{"v":1,"type":"x"}`, "cut": string(good[:len(good)/2]), "a version to come": strings.Replace(string(good), `"v":1`, `"v":2`, 1),
		"wrong range": strings.Replace(string(good), `"to":2`, `"to":3`, 1), "other hashes": strings.Replace(string(good), `"hashes":["`, `"hashes":["00`, 1),
	} {
		path := filepath.Join(t.TempDir(), "outside")
		check(t, os.WriteFile(path, []byte(content), 0o644))
		if r, err := verify.Verify(context.Background(), s.dir, verify.Options{Checkpoint: path}); err == nil {
			t.Errorf("%s: %s", name, r.Words)
		}
	}
	if _, err := verify.Verify(context.Background(), s.dir, verify.Options{Checkpoint: t.TempDir()}); err == nil {
		t.Error("an empty folder was accepted")
	}
}

func TestSegmentsAreFollowed(t *testing.T) {
	s := newStore(t, 6, 2, 1)
	folder := filepath.Join(s.dir, "journal", journal.Local)
	check(t, os.RemoveAll(folder))
	check(t, os.MkdirAll(folder, 0o700))
	write := func(first int, frames ...journal.Frame) {
		var b []byte
		for _, f := range frames {
			var err error
			b, err = journal.EncodeFrame(b, &f)
			check(t, err)
		}
		check(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("%020d.seg", first)), b, 0o600))
	}
	write(1, s.frames[:2]...)
	write(3, s.frames[2:5]...)
	write(6, s.frames[5])
	write(7)
	if r := s.verify(t, s.bundle); r.Verdict != verify.Proven || r.Frames != 6 {
		t.Errorf("four segments: %+v", r)
	}
	agree(t, s, s.bundle)
	check(t, os.Remove(filepath.Join(folder, fmt.Sprintf("%020d.seg", 3))))
	if r := s.verify(t, s.bundle); r.Verdict != verify.Broken || len(named(r, verify.RecordRemoved)) != 6 {
		t.Errorf("one is missing: %+v", r.Findings)
	}
	agree(t, s, s.bundle)
	agree(t, s, "")
}

func TestCancel(t *testing.T) {
	s := newStore(t, 5, 1, 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := verify.Verify(ctx, s.dir, verify.Options{}); err == nil {
		t.Error("a cancelled verification gave an answer")
	}
}
