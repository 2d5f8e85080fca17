package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCrashLoop gives a parser that always dies many jobs, beside one that does not: each job ends in its own way.
func TestCrashLoop(t *testing.T) {
	p := newPool(t, Options{Workers: 2, Timeout: 2 * time.Minute})
	f := openTemp(t, "x")
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 20 {
			_, err := collect(p, "exit", f, "")
			var failed *Failure
			if !errors.As(err, &failed) || failed.Reason != Crashed || !strings.Contains(failed.Detail, "exit status 3") {
				t.Errorf("crash %d: %v", i, err)
			}
		}
	})
	wg.Go(func() {
		for i := range 20 {
			good, err := os.Open(f.Name())
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := collect(p, "echo", good, fmt.Sprint(i)); err != nil || got != fmt.Sprint("x", i) {
				t.Errorf("job %d: %q, %v", i, got, err)
			}
			good.Close()
		}
	})
	wg.Wait()
}

// TestAnswersUpToTheLimit counts answers together, to the byte.
func TestAnswersUpToTheLimit(t *testing.T) {
	const limit = 3000
	for _, c := range []struct {
		arg    string // sizes of answers
		reason string
	}{
		{"3000", ""}, {"1000 1000 1000", ""}, {"1000 1000 1001", TooMuch}, {"3001", TooMuch}, {"0 0 0 3000", ""}, {fmt.Sprint(maxFrame + 1), Refused},
	} {
		p := newPool(t, Options{MaxAnswer: limit})
		got, err := collect(p, "sizes", openTemp(t, ""), c.arg)
		var failed *Failure
		switch {
		case c.reason == "" && (err != nil || len(got) != limit):
			t.Errorf("%s: %d bytes, %v", c.arg, len(got), err)
		case c.reason != "" && (!errors.As(err, &failed) || failed.Reason != c.reason || len(got) > limit):
			t.Errorf("%s: %d bytes, %v", c.arg, len(got), err)
		}
	}
}

// sizes answers with as many bytes as it is told.
func sizes(j *Job) error {
	for _, word := range strings.Fields(string(j.Arg)) {
		var n int
		if _, err := fmt.Sscan(word, &n); err != nil {
			return err
		}
		if err := j.Answer(make([]byte, n)); err != nil {
			return err
		}
	}
	return nil
}

// TestShrinkingFile takes the file away from under the mapping: the fault is the job's error, not the child's end.
func TestShrinkingFile(t *testing.T) {
	p := newPool(t, Options{Timeout: 2 * time.Minute})
	f := openTemp(t, strings.Repeat("x", 1<<20))
	err := p.Run(t.Context(), "map", f, nil, func([]byte) error { return os.Truncate(f.Name(), 0) })
	var failed *Failure
	if !errors.As(err, &failed) || failed.Reason != Refused || !strings.Contains(failed.Detail, Crashed) {
		t.Fatalf("got %v", err)
	}
	w := <-p.slots
	if w == nil {
		t.Error("the child did not live on")
	}
	p.slots <- w
}

// mapped reads a mapping of the file again and again.
func mapped(j *Job) error {
	data, err := unix.Mmap(int(j.File.Fd()), 0, int(j.Size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	if err := j.Answer([]byte("mapped")); err != nil {
		return err
	}
	sum := 0
	for begun := time.Now(); time.Since(begun) < time.Minute; {
		for i := 0; i < len(data); i += 4096 {
			sum += int(data[i])
		}
	}
	return fmt.Errorf("nothing happened, sum %d", sum)
}

// TestOldChildIsReplaced keeps what leaks in a parser from adding up.
func TestOldChildIsReplaced(t *testing.T) {
	for name, age := range map[string]func(*worker){
		"jobs": func(w *worker) { w.jobs = JobsPerChild - 1 },
		"time": func(w *worker) { w.busy = busyPerChild },
	} {
		p := newPool(t, Options{})
		f := openTemp(t, "x")
		if _, err := collect(p, "echo", f, ""); err != nil {
			t.Fatal(err)
		}
		w := <-p.slots
		age(w)
		p.slots <- w
		if _, err := collect(p, "echo", f, ""); err != nil {
			t.Fatal(err)
		}
		if w := <-p.slots; w != nil {
			t.Errorf("%s: an old child is still there", name)
			w.end()
		}
		p.slots <- nil
		if w.cmd.ProcessState == nil {
			t.Errorf("%s: it was not waited for", name)
		}
	}
}

// TestOutgrownChildIsReplaced: two jobs that each need more than half of the memory are both done, whatever the first one left.
func TestOutgrownChildIsReplaced(t *testing.T) {
	p := newPool(t, Options{})
	f := openTemp(t, "x")
	var before *worker
	for range 3 {
		if _, err := collect(p, "large", f, ""); err != nil {
			t.Fatal(err)
		}
		w := <-p.slots
		p.slots <- w
		if w == before {
			t.Fatal("the same child")
		}
		before = w
	}
}

// TestRefusedKeepsTheChild spares the cost of a new one: an error of the parser is no reason to distrust the child.
func TestRefusedKeepsTheChild(t *testing.T) {
	p := newPool(t, Options{})
	f := openTemp(t, "x")
	if _, err := collect(p, "echo", f, ""); err != nil {
		t.Fatal(err)
	}
	before := <-p.slots
	p.slots <- before
	if _, err := collect(p, "panic", f, ""); err == nil {
		t.Fatal("no error")
	}
	after := <-p.slots
	p.slots <- after
	if before != after {
		t.Error("another child")
	}
}

// TestWaitsForAPlace gives up with the context, and with the pool, while all children are busy.
func TestWaitsForAPlace(t *testing.T) {
	p := New(Options{Timeout: time.Minute})
	f := openTemp(t, "x")
	w := <-p.slots // busy
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx, "echo", f, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
	if _, err := p.Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("status: %v", err)
	}
	waiting := make(chan error)
	go func() { waiting <- p.Run(t.Context(), "echo", f, nil, nil) }()
	closed := make(chan error)
	go func() { closed <- p.Close() }()
	if err := <-waiting; !errors.Is(err, errClosed) {
		t.Errorf("run: %v", err)
	}
	p.slots <- w
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := p.Status(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("status: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

// TestFileThatIsClosed loses no place in the pool.
func TestFileThatIsClosed(t *testing.T) {
	p := newPool(t, Options{})
	f := openTemp(t, "x")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context(), "echo", f, nil, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if got, err := collect(p, "echo", openTemp(t, "y"), ""); err != nil || got != "y" {
		t.Errorf("the next job: %q, %v", got, err)
	}
}

// TestRequestTooLarge is an error, and the child is not used again.
func TestRequestTooLarge(t *testing.T) {
	p := newPool(t, Options{})
	if err := p.Run(t.Context(), "echo", openTemp(t, "x"), make([]byte, maxRequest), nil); err == nil {
		t.Error("no error")
	}
	if got, err := collect(p, "echo", openTemp(t, "y"), ""); err != nil || got != "y" {
		t.Errorf("the next job: %q, %v", got, err)
	}
}

// TestHostileChild is a child that was taken over: whatever it sends, the parent keeps its bounds and lives.
func TestHostileChild(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip(err)
	}
	const hello = `printf 'h\000\000\000\002{}' >&3; `
	for _, c := range []struct{ name, script, reason, starts string }{
		{"nothing", "", "", "start child"},
		{"another greeting", `printf 'd\000\000\000\000' >&3; exec sleep 5`, "", "no greeting"},
		{"a greeting that is no JSON", `printf 'h\000\000\000\003abc' >&3; exec sleep 5`, "", "start child"},
		{"a greeting without end", `printf 'h\377\377\377\377' >&3; exec sleep 5`, "", "frame too large"},
		{"words on standard error", "echo broken >&2; exit 1", "", "broken"},
		{"an unknown frame", hello + `printf 'z\000\000\000\000' >&3; exec sleep 5`, Crashed, ""},
		{"a frame that is too large", hello + `printf 'a\377\377\377\377' >&3; exec sleep 5`, Crashed, ""},
		{"half a frame", hello + `printf 'a\000\000\000\011abc' >&3`, Crashed, ""},
		{"silence", hello + "exec sleep 5", Timeout, ""},
		{"its end", hello + "exit 7", Crashed, ""},
		{"answers without end", hello + `while :; do printf 'a\000\000\000\004abcd' >&3 || exit; done`, TooMuch, ""},
		{"places without end", hello + `while :; do printf 'p\000\000\000\004abcd' >&3 || exit; done`, Timeout, ""},
		{"out of memory", hello + "echo 'fatal error: runtime: out of memory' >&2; exit 2", Memory, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			binary := filepath.Join(t.TempDir(), "child")
			if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+c.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			patience := 2 * time.Minute
			if c.reason == Timeout {
				patience = 300 * time.Millisecond
			}
			p := newPool(t, Options{Binary: binary, Timeout: patience, MaxAnswer: 1000})
			_, err := collect(p, "echo", openTemp(t, "x"), "")
			var failed *Failure
			switch {
			case c.starts != "" && (err == nil || errors.As(err, &failed) || !strings.Contains(err.Error(), c.starts)):
				t.Errorf("got %v, want %s", err, c.starts)
			case c.reason != "" && (!errors.As(err, &failed) || failed.Reason != c.reason):
				t.Errorf("got %v, want %s", err, c.reason)
			}
		})
	}
}
