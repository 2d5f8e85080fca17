package verify_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
)

// trace is what an attack must leave: one of these records named, or that frame.
type trace struct {
	records []string
	stream  string
	frame   uint64
}

func (tr trace) in(r *verify.Result) bool {
	return slices.ContainsFunc(r.Findings, func(f verify.Finding) bool {
		return slices.Contains(tr.records, f.Record) || tr.stream != "" && f.Stream == tr.stream && f.Sequence == tr.frame
	})
}

func recordID(r journal.Record) string {
	h, err := event.ParseHeader(r.Header)
	if err != nil {
		return ""
	}
	return string(h.ID)
}

func idsOf(records []journal.Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, recordID(r))
	}
	return out
}

// forgeries change the past, and everything is re-signed after them: without an outside checkpoint they cannot be seen.
var forgeries = map[string]func(*rand.Rand, []journal.Frame) ([]journal.Frame, trace){
	"remove a record": func(r *rand.Rand, f []journal.Frame) ([]journal.Frame, trace) {
		i, j := r.IntN(len(f)), 0
		j = r.IntN(len(f[i].Records))
		id := recordID(f[i].Records[j])
		f[i].Records = slices.Delete(slices.Clone(f[i].Records), j, j+1)
		return f, trace{records: []string{id}}
	},
	"remove a frame": func(r *rand.Rand, f []journal.Frame) ([]journal.Frame, trace) {
		i := r.IntN(len(f))
		removed := trace{records: idsOf(f[i].Records)}
		return slices.Delete(f, i, i+1), removed
	},
	"change a header": func(r *rand.Rand, f []journal.Frame) ([]journal.Frame, trace) {
		i := r.IntN(len(f))
		j := r.IntN(len(f[i].Records))
		old := f[i].Records[j]
		f[i].Records = slices.Clone(f[i].Records)
		f[i].Records[j].Header = bytes.Replace(old.Header, []byte(`"connector":"office"`), []byte(`"connector":"other"`), 1)
		return f, trace{records: []string{recordID(old)}}
	},
	"change a content": func(r *rand.Rand, f []journal.Frame) ([]journal.Frame, trace) {
		i := r.IntN(len(f))
		j := r.IntN(len(f[i].Records))
		old := f[i].Records[j]
		sealed := append(slices.Clone(old.Sealed), 'x')
		f[i].Records = slices.Clone(f[i].Records)
		f[i].Records[j] = journal.Record{Header: bytes.Replace(old.Header, []byte(event.Digest(old.Sealed)), []byte(event.Digest(sealed)), 1), Sealed: sealed}
		return f, trace{records: []string{recordID(old)}}
	},
	"swap records of a frame": func(r *rand.Rand, f []journal.Frame) ([]journal.Frame, trace) {
		i := r.IntN(len(f))
		f[i].Records = slices.Clone(f[i].Records)
		k := r.IntN(len(f[i].Records) - 1)
		f[i].Records[k], f[i].Records[k+1] = f[i].Records[k+1], f[i].Records[k]
		return f, trace{records: idsOf(f[i].Records[k : k+2])}
	},
	"swap records of two frames": func(r *rand.Rand, f []journal.Frame) ([]journal.Frame, trace) {
		i := r.IntN(len(f) - 1)
		k := i + 1 + r.IntN(len(f)-i-1)
		f[i].Records, f[k].Records = slices.Clone(f[i].Records), slices.Clone(f[k].Records)
		a, b := &f[i].Records[r.IntN(len(f[i].Records))], &f[k].Records[r.IntN(len(f[k].Records))]
		*a, *b = *b, *a
		return f, trace{records: []string{recordID(*a), recordID(*b)}}
	},
	"swap frames": func(r *rand.Rand, f []journal.Frame) ([]journal.Frame, trace) {
		i := r.IntN(len(f) - 1)
		k := i + 1 + r.IntN(len(f)-i-1)
		f[i].Records, f[k].Records = f[k].Records, f[i].Records
		return f, trace{records: append(idsOf(f[i].Records), idsOf(f[k].Records)...)}
	},
	"insert a record": func(r *rand.Rand, f []journal.Frame) ([]journal.Frame, trace) {
		i := r.IntN(len(f))
		rec, err := ledgertest.Record(100_000+r.IntN(1000), nil)
		if err != nil {
			return f, trace{}
		}
		f[i].Records = slices.Insert(slices.Clone(f[i].Records), r.IntN(len(f[i].Records)+1), rec)
		return f, trace{records: []string{recordID(rec)}}
	},
	"cut the newest frames": func(r *rand.Rand, f []journal.Frame) ([]journal.Frame, trace) {
		k := 1 + r.IntN(len(f)/4)
		var cut trace
		for _, gone := range f[len(f)-k:] {
			cut.records = append(cut.records, idsOf(gone.Records)...)
		}
		return f[:len(f)-k], cut
	},
	"change a time": func(r *rand.Rand, f []journal.Frame) ([]journal.Frame, trace) {
		i := r.IntN(len(f))
		f[i].Head.Time = f[i].Head.Time.Add(time.Second)
		return f, trace{stream: f[i].Head.Stream, frame: f[i].Head.Sequence}
	},
}

// vandalism changes files without the key: it is seen without any outside checkpoint too.
var vandalism = map[string]func(*rand.Rand, string) error{
	"cut a segment": func(r *rand.Rand, dir string) error {
		return edit(r, dir, "journal/*/*.seg", func(b []byte) []byte { return b[:r.IntN(len(b))] })
	},
	"flip a byte of a segment": func(r *rand.Rand, dir string) error {
		return edit(r, dir, "journal/*/*.seg", func(b []byte) []byte { b[r.IntN(len(b))] ^= byte(1 + r.IntN(255)); return b })
	},
	"drop bytes of a segment": func(r *rand.Rand, dir string) error {
		return edit(r, dir, "journal/*/*.seg", func(b []byte) []byte { i := r.IntN(len(b)); return slices.Delete(b, i, min(len(b), i+1+r.IntN(500))) })
	},
	"swap frames of a segment": func(r *rand.Rand, dir string) error {
		return edit(r, dir, "journal/*/*.seg", func(b []byte) []byte {
			parts := bytes.SplitAfter(b, []byte("CJF1"))
			i := 1 + r.IntN(len(parts)-3)
			parts[i], parts[i+1] = parts[i+1], parts[i]
			return bytes.Join(parts, nil)
		})
	},
	"flip a byte of the ledger": func(r *rand.Rand, dir string) error {
		return edit(r, dir, "ledger/tile/*/*", func(b []byte) []byte { b[r.IntN(len(b))] ^= byte(1 + r.IntN(255)); return b })
	},
	"remove a file of the ledger": func(r *rand.Rand, dir string) error {
		return edit(r, dir, "ledger/tile/*/*", func([]byte) []byte { return nil })
	},
	"flip a byte of the checkpoint": func(r *rand.Rand, dir string) error {
		return edit(r, dir, "ledger/checkpoint", func(b []byte) []byte { b[r.IntN(len(b))] ^= byte(1 + r.IntN(255)); return b })
	},
}

// edit changes one of the files, partial tiles included, or removes it.
func edit(r *rand.Rand, dir, pattern string, change func([]byte) []byte) error {
	files, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
	if err != nil {
		return err
	}
	path := files[r.IntN(len(files))]
	if strings.HasSuffix(path, ".p") {
		partial, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		path = filepath.Join(path, partial[0].Name())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if b = change(b); b == nil {
		return os.Remove(path)
	}
	return os.WriteFile(path, b, 0o600)
}

// TestAttacks plays 1,000 random attacks (100 under the race detector, unless CHAPERONE_SOAK is set), on half of which everything is re-signed. Given the bundle each is found, the forgeries by
// record or frame; without it a forgery is consistent and never proven.
func TestAttacks(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	s := newStore(t, 260, 2, 3)
	n, want := 0, attacks
	switch {
	case os.Getenv("CHAPERONE_SOAK") != "":
		want = 1000
	case testing.Short():
		want = 100
	}
	for n < want {
		for _, name := range sortedKeys(forgeries) {
			n++
			s.forge(t, name, r, n)
		}
		for _, name := range sortedKeys(vandalism) {
			n++
			s.vandalise(t, name, r, n)
		}
	}
	s.restore(t)
	if res := s.verify(t, s.bundle); res.Verdict != verify.Proven {
		t.Errorf("the store itself: %+v", res)
	}
}

// pythonEvery is how many attacks go by between two that the Python verifier judges too.
const pythonEvery = 45

func (s *store) forge(t *testing.T, name string, r *rand.Rand, n int) {
	t.Helper()
	frames, left := forgeries[name](r, slices.Clone(s.frames))
	_, err := ledgertest.Build(s.dir, s.key, frames)
	check(t, err)
	if res := s.verify(t, ""); res.Words != verify.Consistent {
		t.Errorf("attack %d, %s, nothing outside: %s %v", n, name, res.Words, res.Findings)
	}
	if res := s.verify(t, s.bundle); res.Verdict != verify.Broken || !left.in(res) {
		t.Errorf("attack %d, %s, with the bundle: %s, wanted %+v, got %v", n, name, res.Words, left, res.Findings)
	}
	if n%5 != 0 {
		return
	}
	res := s.verify(t, s.note)
	last := res.Findings[max(0, len(res.Findings)-1):]
	if res.Verdict != verify.Broken || len(last) != 1 || last[0].Record != "" {
		t.Errorf("attack %d, %s, with the bare checkpoint: %s %v", n, name, res.Words, res.Findings)
	}
	if n%pythonEvery == 0 {
		agree(t, s, "")
		agree(t, s, s.bundle)
		agree(t, s, s.note)
	}
}

func (s *store) vandalise(t *testing.T, name string, r *rand.Rand, n int) {
	t.Helper()
	s.restore(t)
	check(t, vandalism[name](r, s.dir))
	for _, outside := range []string{"", s.bundle} {
		if res := s.verify(t, outside); res.Verdict != verify.Broken {
			t.Errorf("attack %d, %s, with %q: %s", n, name, filepath.Base(outside), res.Words)
		}
	}
	if n%pythonEvery == 0 {
		if mine, other := s.verify(t, s.bundle), independent(t, s.dir, s.bundle); mine.Verdict != other.Verdict {
			t.Errorf("attack %d, %s: %s, verify.py %s", n, name, mine.Verdict, other.Verdict)
		}
	}
}

func (s *store) restore(t *testing.T) {
	t.Helper()
	_, err := ledgertest.Build(s.dir, s.key, s.frames)
	check(t, err)
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// BenchmarkVerify is the speed of verification with a bundle, in records a second.
func BenchmarkVerify(b *testing.B) {
	s := newStore(b, 2000, 32, 1)
	records := uint64(0)
	for b.Loop() {
		records += s.verify(b, s.bundle).Records
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}

// FuzzSegment checks that no bytes of a segment stop the verifier or are taken for the frames of the ledger.
func FuzzSegment(f *testing.F) {
	frames, err := ledgertest.Frames(2, 2, 1)
	check(f, err)
	s := build(f, frames)
	path := filepath.Join(s.dir, "journal", journal.Local, fmt.Sprintf("%020d.seg", 1))
	good, err := os.ReadFile(path)
	check(f, err)
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add(append([]byte("CJF1\xff\xff\xff\xff\xff\xff\xff\xff"), good[8:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		check(t, os.WriteFile(path, b, 0o600))
		if r := s.verify(t, s.bundle); r.Verdict == verify.Proven && !bytes.HasPrefix(b, good) {
			t.Fatalf("other bytes were proven: %+v", r)
		}
	})
}

// FuzzOutside checks that no bytes given as outside checkpoint stop the verifier or prove a store that they were not made of.
func FuzzOutside(f *testing.F) {
	s := newStore(f, 2, 2, 1)
	other := newStore(f, 3, 1, 1)
	for _, path := range []string{s.note, s.bundle} {
		b, err := os.ReadFile(path)
		check(f, err)
		f.Add(b)
	}
	path := filepath.Join(f.TempDir(), "outside")
	f.Fuzz(func(t *testing.T, b []byte) {
		check(t, os.WriteFile(path, b, 0o600))
		r, err := verify.Verify(t.Context(), other.dir, verify.Options{Checkpoint: path})
		if err == nil && r.Verdict == verify.Proven && !bytes.Contains(b, []byte("chaperone/test")) {
			t.Fatalf("%q proves another store", b)
		}
	})
}
