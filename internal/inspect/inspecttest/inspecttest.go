// Package inspecttest is the conformance suite of inspectors: what every one of them must do whatever it looks for.
package inspecttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
)

// Bad is an item that the inspector must hit, and the name of the hit.
type Bad struct {
	Item *inspect.Item
	Hit  string
}

// Run runs the suite. A nil bad leaves out what needs a hit.
func Run(t *testing.T, in inspect.Inspector, bad *Bad) {
	t.Run("named", func(t *testing.T) {
		if in.Name() == "" || in.Version() == "" {
			t.Errorf("name %q, version %q", in.Name(), in.Version())
		}
	})
	t.Run("clean", func(t *testing.T) { clean(t, in) })
	t.Run("hostile", func(t *testing.T) { hostile(t, in) })
	t.Run("unreadable", func(t *testing.T) { unreadable(t, in) })
	t.Run("cancelled", func(t *testing.T) { cancelled(t, in) })
	if bad != nil {
		t.Run("hit", func(t *testing.T) { hit(t, in, bad) })
		t.Run("same answer", func(t *testing.T) { sameAnswer(t, in, bad) })
	}
}

// limit is how long one inspection may take in a test: far beyond what any should need.
const limit = 20 * time.Second

func inspectOne(t *testing.T, in inspect.Inspector, item *inspect.Item) inspect.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	out := in.Inspect(ctx, item)
	checkResult(t, in, item, out)
	return out
}

// checkResult checks what holds for every result.
func checkResult(t *testing.T, in inspect.Inspector, item *inspect.Item, out inspect.Result) {
	t.Helper()
	points := utf8.RuneCountInString(item.Text)
	for _, h := range out.Hits {
		if h.Inspector != in.Name() || h.Name == "" || h.Count < 1 || h.Version == "" || h.Confidence < 1 || h.Confidence > 1000 {
			t.Errorf("incomplete hit: %+v", h)
		}
		last := 0
		for _, s := range h.Spans {
			if s.Start < last || s.End <= s.Start || s.End > points {
				t.Errorf("%s: span %v after %d, in a text of %d code points", h.Name, s, last, points)
			}
			last = s.End
		}
	}
	for _, n := range out.NotInspected {
		if n.Inspector != in.Name() || n.Reason == "" {
			t.Errorf("incomplete mark: %+v", n)
		}
	}
}

// File makes an item of a file.
func File(name string, body []byte) *inspect.Item {
	return &inspect.Item{File: &event.File{Name: name, Size: int64(len(body))}, Size: int64(len(body)), Body: bytes.NewReader(body)}
}

func clean(t *testing.T, in inspect.Inspector) {
	for _, item := range []*inspect.Item{{Text: "See you at lunch."}, {}, File("note.txt", []byte("See you at lunch.\n")), File("empty", nil)} {
		if out := inspectOne(t, in, item); len(out.Hits)+len(out.NotInspected) > 0 {
			t.Errorf("%+v: %+v", item, out)
		}
	}
}

func hostile(t *testing.T, in inspect.Inspector) {
	long := strings.Repeat("a", 100_000)
	for _, text := range []string{"\xff\xfe\x00", "\u202e\u200b", strings.Repeat("\u0301", 10_000), long, strings.Repeat("1 ", 50_000), strings.Repeat("𝟜", 10_000), strings.Repeat("w ", 20_000)} {
		inspectOne(t, in, &inspect.Item{Text: text})
		inspectOne(t, in, File("x.zip", []byte(text)))
		inspectOne(t, in, File("x.zip", []byte("PK\x03\x04"+text)))
		inspectOne(t, in, File("x.pdf", []byte("%PDF-"+text)))
	}
}

type brokenReader struct{}

func (brokenReader) ReadAt([]byte, int64) (int, error) { return 0, errors.New("broken") }

// unreadable gives a file that cannot be read: the inspector either does not look into files, or says that it could not.
func unreadable(t *testing.T, in inspect.Inspector) {
	readsFiles := len(inspectOne(t, in, File("a.pdf", []byte("%PDF-1.7"))).Type) > 0 || in.Name() == "malware"
	out := inspectOne(t, in, &inspect.Item{File: &event.File{Name: "x"}, Size: 100, Body: brokenReader{}})
	if readsFiles && (len(out.NotInspected) != 1 || out.NotInspected[0].Reason != event.ReasonUnreadable) {
		t.Errorf("%+v", out)
	}
	if !readsFiles && len(out.Hits)+len(out.NotInspected) > 0 {
		t.Errorf("%+v", out)
	}
}

// cancelled gives a context that is over: the answer comes at once, and is never a wrong "clean" of a file that was not looked into.
func cancelled(t *testing.T, in inspect.Inspector) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan inspect.Result, 1)
	go func() { done <- in.Inspect(ctx, File("a.bin", bytes.Repeat([]byte("x"), 1<<20))) }()
	select {
	case out := <-done:
		for _, n := range out.NotInspected {
			if n.Reason != event.ReasonTimeout && n.Reason != event.ReasonUnavailable {
				t.Errorf("reason %q", n.Reason)
			}
		}
	case <-time.After(limit):
		t.Error("no answer after the context ended")
	}
}

func hit(t *testing.T, in inspect.Inspector, bad *Bad) {
	for _, h := range inspectOne(t, in, bad.Item).Hits {
		if h.Name == bad.Hit {
			return
		}
	}
	t.Errorf("no hit %s", bad.Hit)
}

// sameAnswer asks from many sides at once: the answers are equal.
func sameAnswer(t *testing.T, in inspect.Inspector, bad *Bad) {
	want := inspectOne(t, in, bad.Item)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			if got := in.Inspect(ctx, bad.Item); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	wg.Wait()
}

// Hanging is an inspector that never answers, for tests of those who run inspectors.
type Hanging struct{ Release chan struct{} }

// Name returns "hanging".
func (Hanging) Name() string { return "hanging" }

// Version returns "1".
func (Hanging) Version() string { return "1" }

// Inspect waits for Release, and never looks at its context.
func (h Hanging) Inspect(context.Context, *inspect.Item) inspect.Result {
	<-h.Release
	return inspect.Result{}
}

var _ io.ReaderAt = brokenReader{}
