// Package journaltest holds the suite that every driver of journal.Journal must pass, and helpers for tests that need records.
package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/chaperone-im/chaperone/internal/journal"
)

// Record returns a record whose header and content say n.
func Record(n int) journal.Record {
	return journal.Record{Header: fmt.Appendf(nil, `{"id":"record-%06d","v":1}`, n), Sealed: fmt.Appendf(nil, "sealed %06d", n)}
}

// Number returns the n of a record that Record made, or -1.
func Number(r journal.Record) int {
	n := -1
	fmt.Sscanf(string(r.Header), `{"id":"record-%d","v":1}`, &n)
	return n
}

// All returns the frames of a stream from one on.
func All(t testing.TB, r journal.Reader, stream string, from uint64) []journal.Frame {
	t.Helper()
	var out []journal.Frame
	for f, err := range r.Frames(context.Background(), stream, from) {
		if err != nil {
			t.Fatalf("read frames: %v", err)
		}
		out = append(out, f)
	}
	return out
}

// CheckChain fails the test unless the frames follow each other as the format says.
func CheckChain(t testing.TB, frames []journal.Frame) {
	t.Helper()
	for i, f := range frames {
		if f.Head.Sequence != frames[0].Head.Sequence+uint64(i) {
			t.Fatalf("frame %d stands where frame %d belongs", f.Head.Sequence, frames[0].Head.Sequence+uint64(i))
		}
		if i > 0 && f.Head.Prev != journal.Hash(frames[i-1].HeadRaw) {
			t.Fatalf("frame %d does not continue the frame before it", f.Head.Sequence)
		}
		headers := make([][]byte, len(f.Records))
		for n, r := range f.Records {
			headers[n] = r.Header
		}
		if f.Head.Root != journal.Root(headers) || f.Head.Count != len(f.Records) {
			t.Fatalf("frame %d: root or count do not fit its records", f.Head.Sequence)
		}
	}
}

// Suite runs the behaviour of a Journal. Open opens the same journal each time it is called in one subtest.
func Suite(t *testing.T, stream string, open func(t *testing.T) func() journal.Journal) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, string, func() journal.Journal)
	}{
		{"append and read", appendAndRead},
		{"many at once", manyAtOnce},
		{"positions", positions},
		{"reopen", reopen},
		{"read while written", readWhileWritten},
		{"wait", wait},
		{"ended contexts", endedContexts},
		{"closed", closed},
		{"bounds", bounds},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, stream, open(t)) })
	}
}

func appendAndRead(t *testing.T, stream string, open func() journal.Journal) {
	j := open()
	defer j.Close()
	for i := range 10 {
		if _, err := j.Append(t.Context(), Record(2*i), Record(2*i+1)); err != nil {
			t.Fatal(err)
		}
	}
	frames := All(t, j, stream, 1)
	CheckChain(t, frames)
	n := 0
	for _, f := range frames {
		for _, r := range f.Records {
			if want := Record(n); !bytes.Equal(r.Header, want.Header) || !bytes.Equal(r.Sealed, want.Sealed) {
				t.Fatalf("record %d came back as %s and %s", n, r.Header, r.Sealed)
			}
			n++
		}
	}
	if n != 20 {
		t.Fatalf("%d records of 20", n)
	}
	for from := uint64(1); from <= 11; from++ {
		rest := All(t, j, stream, from)
		if len(rest) != 11-int(from) || len(rest) > 0 && rest[0].Head.Sequence != from {
			t.Errorf("from %d: %d frames", from, len(rest))
		}
	}
	if got := All(t, j, "another", 1); len(got) != 0 {
		t.Errorf("a stream that does not exist has %d frames", len(got))
	}
}

func manyAtOnce(t *testing.T, stream string, open func() journal.Journal) {
	j := open()
	defer j.Close()
	const writers, each = 16, 25
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				if _, err := j.Append(context.Background(), Record(w*each+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	frames := All(t, j, stream, 1)
	CheckChain(t, frames)
	last := map[int]int{}
	total := 0
	for _, f := range frames {
		for _, r := range f.Records {
			n := Number(r)
			if before, ok := last[n/each]; ok && n <= before {
				t.Fatalf("record %d comes after record %d of the same writer", n, before)
			}
			last[n/each] = n
			total++
		}
	}
	if total != writers*each {
		t.Fatalf("%d records of %d", total, writers*each)
	}
}

func positions(t *testing.T, stream string, open func() journal.Journal) {
	j := open()
	defer j.Close()
	at, err := j.Append(t.Context(), Record(0), Record(1), Record(2))
	if err != nil {
		t.Fatal(err)
	}
	if want := (journal.Position{Stream: stream, Sequence: 1, Record: 3}); at != want {
		t.Errorf("%+v, want %+v: the position is after the last record", at, want)
	}
	streams, err := j.Streams()
	if err != nil || streams[stream] != 1 {
		t.Errorf("%v, %v", streams, err)
	}
}

func reopen(t *testing.T, stream string, open func() journal.Journal) {
	for round := range 4 {
		j := open()
		if got := len(All(t, j, stream, 1)); got != round {
			t.Fatalf("round %d: %d frames", round, got)
		}
		if _, err := j.Append(t.Context(), Record(round)); err != nil {
			t.Fatal(err)
		}
		CheckChain(t, All(t, j, stream, 1))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func readWhileWritten(t *testing.T, stream string, open func() journal.Journal) {
	j := open()
	defer j.Close()
	const n = 200
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen []journal.Frame
	var readers sync.WaitGroup
	total := 0
	readers.Go(func() {
		err := journal.Follow(ctx, j, stream, 1, func(f journal.Frame) error {
			seen = append(seen, f)
			if total += len(f.Records); total == n {
				cancel()
			}
			return nil
		})
		if err != nil {
			t.Error(err)
			cancel()
		}
	})
	for i := range n {
		if _, err := j.Append(t.Context(), Record(i)); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
	CheckChain(t, seen)
	if total != n {
		t.Errorf("followed %d records of %d", total, n)
	}
}

func wait(t *testing.T, stream string, open func() journal.Journal) {
	j := open()
	defer j.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Wait(ctx, stream, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("nothing is there: %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- j.Wait(t.Context(), stream, 0) }()
	if _, err := j.Append(t.Context(), Record(0)); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if err := j.Wait(ctx, stream, 0); err != nil {
		t.Errorf("it is there already: %v", err)
	}
}

func endedContexts(t *testing.T, stream string, open func() journal.Journal) {
	j := open()
	defer j.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	told := 0
	for range 50 {
		if _, err := j.Append(ctx, Record(1)); err == nil {
			told++
		}
	}
	if kept := len(All(t, j, stream, 1)); kept < told {
		t.Errorf("%d were told that they are durable, %d are", told, kept)
	}
	if _, err := j.Append(t.Context(), Record(2)); err != nil {
		t.Errorf("the journal does not go on: %v", err)
	}
	if frames := All(t, j, stream, 1); Number(frames[len(frames)-1].Records[0]) != 2 {
		t.Error("what was taken back came after what followed it")
	}
}

func closed(t *testing.T, _ string, open func() journal.Journal) {
	j := open()
	for range 2 {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.Append(t.Context(), Record(0)); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("appended to a closed journal: %v", err)
	}
}

func bounds(t *testing.T, stream string, open func() journal.Journal) {
	j := open()
	defer j.Close()
	for name, records := range map[string][]journal.Record{
		"none":            {},
		"no header":       {{Sealed: []byte("x")}},
		"long header":     {{Header: make([]byte, journal.MaxHeader+1)}},
		"long content":    {{Header: []byte("x"), Sealed: make([]byte, journal.MaxSealed+1)}},
		"one is too long": {Record(1), {Header: []byte("x"), Sealed: make([]byte, journal.MaxSealed+1)}},
		"too many":        make([]journal.Record, journal.MaxRecords+1),
	} {
		if _, err := j.Append(t.Context(), records...); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
	big := journal.Record{Header: bytes.Repeat([]byte("h"), journal.MaxHeader), Sealed: make([]byte, journal.MaxSealed)}
	if _, err := j.Append(t.Context(), big); err != nil {
		t.Errorf("the largest record: %v", err)
	}
	if frames := All(t, j, stream, 1); len(frames) != 1 || len(frames[0].Records[0].Sealed) != journal.MaxSealed {
		t.Errorf("%d frames", len(frames))
	}
}
