package file_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/journal/journaltest"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

func open(t testing.TB, dir string, o file.Options) (*file.Journal, *file.Cut) {
	t.Helper()
	j, cut, err := file.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j, cut
}

func TestSuite(t *testing.T) {
	for name, o := range map[string]file.Options{"one segment": {}, "a segment for every frame": {SegmentSize: 1}, "small segments": {SegmentSize: 3000, Stream: "room"}} {
		t.Run(name, func(t *testing.T) {
			stream := o.Stream
			if stream == "" {
				stream = journal.Local
			}
			journaltest.Suite(t, stream, func(t *testing.T) func() journal.Journal {
				dir := t.TempDir()
				return func() journal.Journal {
					j, _ := open(t, dir, o)
					return j
				}
			})
		})
	}
}

func TestLockNamesWhoHoldsIt(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, file.Options{})
	_, _, err := file.Open(dir, file.Options{})
	if !errors.Is(err, journal.ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("a second writer: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, file.Options{})
}

func TestTwoStreams(t *testing.T) {
	dir := t.TempDir()
	for _, stream := range []string{"b", "a"} {
		j, _ := open(t, dir, file.Options{Stream: stream})
		for i := range 5 {
			if _, err := j.Append(t.Context(), journaltest.Record(i)); err != nil {
				t.Fatal(err)
			}
		}
		j.Close()
	}
	r := file.OpenReader(dir)
	for range 3 { // reading on from remembered places
		for _, stream := range []string{"a", "b"} {
			for from := uint64(1); from <= 6; from++ {
				if got := len(journaltest.All(t, r, stream, from)); got != 6-int(from) {
					t.Errorf("%s from %d: %d frames", stream, from, got)
				}
			}
		}
	}
}

// TestReaderBesideAWriter reads without the lock, as another process does.
func TestReaderBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	r := file.OpenReader(dir)
	if streams, err := r.Streams(); err != nil || len(streams) != 0 {
		t.Fatalf("%v, %v", streams, err)
	}
	j, _ := open(t, dir, file.Options{SegmentSize: 2000})
	for i := range 40 {
		if _, err := j.Append(t.Context(), journaltest.Record(i)); err != nil {
			t.Fatal(err)
		}
		streams, err := r.Streams()
		if err != nil || streams[journal.Local] != uint64(i+1) {
			t.Fatalf("%v, %v", streams, err)
		}
		if err := r.Wait(t.Context(), journal.Local, uint64(i)); err != nil {
			t.Fatal(err)
		}
		if got := journaltest.All(t, r, journal.Local, uint64(i+1)); len(got) != 1 {
			t.Fatalf("frame %d: %d frames", i+1, len(got))
		}
	}
	last := lastSegment(t, dir)
	raw, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	half := append(raw, raw[:60]...) // a frame that is being written
	if err := os.WriteFile(last, half, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := len(journaltest.All(t, file.OpenReader(dir), journal.Local, 1)); got != 40 {
		t.Errorf("%d frames", got)
	}
}

func lastSegment(t testing.TB, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "journal", "*", "*.seg"))
	if err != nil || len(all) == 0 {
		t.Fatal("no segments", err)
	}
	return all[len(all)-1]
}

// write makes a closed journal of n frames and returns the bytes of its only segment, with the offsets at which its frames end.
func write(t testing.TB, dir string, n int) ([]byte, []int) {
	t.Helper()
	j, _ := open(t, dir, file.Options{})
	var ends []int
	for i := range n {
		if _, err := j.Append(t.Context(), journaltest.Record(i)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(lastSegment(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(info.Size()))
	}
	j.Close()
	raw, err := os.ReadFile(lastSegment(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return raw, ends
}

// TestTornEnd cuts a segment at every byte of its last frame: what was durable stays, the rest is cut and told, and the journal goes on.
func TestTornEnd(t *testing.T) {
	raw, ends := write(t, t.TempDir(), 3)
	for size := ends[1]; size < len(raw); size += 1 + size%5 {
		for name, tail := range map[string][]byte{"cut": nil, "zeros": make([]byte, len(raw)-size), "stale": bytes.Repeat([]byte("CJF1\x00"), len(raw)/5)[:len(raw)-size]} {
			dir := t.TempDir()
			write(t, dir, 1) // for its folders
			if err := os.WriteFile(lastSegment(t, dir), append(append([]byte{}, raw[:size]...), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			j, cut, err := file.Open(dir, file.Options{})
			if err != nil {
				t.Fatalf("%s at %d: %v", name, size, err)
			}
			if want := int64(size - ends[1] + len(tail)); want == 0 && cut != nil || want > 0 && (cut == nil || cut.Bytes != want || cut.Offset != int64(ends[1])) {
				t.Errorf("%s at %d: cut %+v", name, size, cut)
			}
			if cut != nil {
				kept, err := os.ReadFile(cut.Kept)
				if err != nil || int64(len(kept)) != cut.Bytes || !bytes.HasSuffix(kept, tail) {
					t.Fatalf("%s at %d: kept %d of %d bytes, %v", name, size, len(kept), cut.Bytes, err)
				}
			}
			if _, err := j.Append(t.Context(), journaltest.Record(7)); err != nil {
				t.Fatal(err)
			}
			frames := journaltest.All(t, j, journal.Local, 1)
			journaltest.CheckChain(t, frames)
			if len(frames) != 3 || journaltest.Number(frames[2].Records[0]) != 7 {
				t.Errorf("%s at %d: %d frames", name, size, len(frames))
			}
			j.Close()
		}
	}
}

// TestDamageIsNotCut flips every byte of a segment. Damage in its last frame cannot be told from a torn end; before it nothing may be cut
// away: the journal refuses to open, and changes nothing.
func TestDamageIsNotCut(t *testing.T) {
	dir := t.TempDir()
	raw, ends := write(t, dir, 4)
	path := lastSegment(t, dir)
	for i := range raw {
		changed := append([]byte{}, raw...)
		changed[i] ^= 0x81
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		j, cut, err := file.Open(dir, file.Options{})
		if i < ends[2] {
			if !errors.Is(err, journal.ErrCorrupt) {
				t.Fatalf("byte %d: opened with %+v, %v", i, cut, err)
			}
			if now, _ := os.ReadFile(path); string(now) != string(changed) {
				t.Fatalf("byte %d: the segment was changed", i)
			}
			continue
		}
		if err != nil || cut == nil || cut.Offset != int64(ends[2]) {
			t.Fatalf("byte %d: %+v, %v", i, cut, err)
		}
		j.Close()
	}
}

// TestReadersFindDamage flips bytes under a reader: it never gives a frame that was changed, and never ends as if all were well when what
// it lacks was durable.
func TestReadersFindDamage(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, file.Options{SegmentSize: 700})
	for i := range 10 {
		if _, err := j.Append(t.Context(), journaltest.Record(i)); err != nil {
			t.Fatal(err)
		}
	}
	all, _ := filepath.Glob(filepath.Join(dir, "journal", "*", "*.seg"))
	for _, path := range all {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(raw); i += 3 {
			changed := append([]byte{}, raw...)
			changed[i] ^= 0x10
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			var got error
			n := 0
			for _, err := range j.Frames(t.Context(), journal.Local, 1) {
				if got = err; err == nil {
					n++
				}
			}
			if got == nil {
				t.Fatalf("%s: byte %d was changed, and %d frames were read without an error", filepath.Base(path), i, n)
			}
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDetach(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, file.Options{SegmentSize: 2000})
	for i := range 30 {
		if _, err := j.Append(t.Context(), journaltest.Record(3*i), journaltest.Record(3*i+1), journaltest.Record(3*i+2)); err != nil {
			t.Fatal(err)
		}
	}
	before := journaltest.All(t, j, journal.Local, 1)
	journaltest.All(t, j, journal.Local, 29) // leaves places behind
	if err := j.Detach(t.Context(), map[uint64][]int{3: {1}, 12: {0, 2}, 30: {2}}); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), journaltest.Record(90)); err != nil {
		t.Fatal(err)
	}
	gone := map[int]bool{7: true, 33: true, 35: true, 89: true}
	for _, r := range []journal.Reader{j, file.OpenReader(dir)} {
		after := journaltest.All(t, r, journal.Local, 1)
		journaltest.CheckChain(t, after)
		for i, f := range before {
			if string(after[i].HeadRaw) != string(f.HeadRaw) {
				t.Errorf("the head of frame %d changed", i+1)
			}
			for k, rec := range after[i].Records {
				n := journaltest.Number(rec)
				if n != 3*i+k || gone[n] != (rec.Sealed == nil) {
					t.Errorf("record %d: %q", n, rec.Sealed)
				}
			}
		}
		if len(after) != 31 {
			t.Errorf("%d frames", len(after))
		}
		if rest := journaltest.All(t, r, journal.Local, 30); len(rest) != 2 {
			t.Errorf("from 30: %d frames", len(rest))
		}
	}
	if err := j.Detach(t.Context(), map[uint64][]int{3: {3}}); err == nil {
		t.Error("a record that is not there was detached")
	}
	if err := j.Detach(t.Context(), map[uint64][]int{3: {1}}); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := j.Detach(t.Context(), map[uint64][]int{32: {0}}); err == nil {
		t.Error("a frame that is not there was detached")
	}
	j.Close()
	j, cut := open(t, dir, file.Options{})
	if got := len(journaltest.All(t, j, journal.Local, 1)); got != 31 || cut != nil {
		t.Errorf("after reopening: %d frames, cut %+v", got, cut)
	}
}

// TestDetachBesideWriters rewrites every segment while others append and read: nobody waits for it, and nothing is lost.
func TestDetachBesideWriters(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, file.Options{SegmentSize: 5000})
	for i := range 50 {
		if _, err := j.Append(t.Context(), journaltest.Record(i)); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	group.Go(func() {
		for i := range 50 {
			if err := j.Detach(t.Context(), map[uint64][]int{uint64(i + 1): {0}}); err != nil {
				t.Error(err)
			}
		}
	})
	for w := range 4 {
		group.Go(func() {
			for i := range 25 {
				if _, err := j.Append(t.Context(), journaltest.Record(1000*(w+1)+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Go(func() {
		for range 20 {
			journaltest.CheckChain(t, journaltest.All(t, j, journal.Local, 1))
		}
	})
	group.Wait()
	frames := journaltest.All(t, file.OpenReader(dir), journal.Local, 1)
	journaltest.CheckChain(t, frames)
	kept := 0
	for _, f := range frames {
		for _, r := range f.Records {
			if r.Sealed != nil {
				kept++
			}
		}
	}
	if kept != 100 {
		t.Errorf("%d contents are there, want the 100 that were not dropped", kept)
	}
}
