package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// testParsers misbehave in every way a parser can.
func testParsers() []Parser {
	return []Parser{
		{"echo", func(j *Job) error {
			b, err := io.ReadAll(j.File)
			if err != nil {
				return err
			}
			return j.Answer(append(append(b, j.Setup...), j.Arg...))
		}},
		{"kill", func(j *Job) error {
			j.At("a!/b")
			if err := j.Answer([]byte("before")); err != nil {
				return err
			}
			return syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
		}},
		{"exit", func(*Job) error { os.Exit(3); return nil }},
		{"panic", func(*Job) error { panic("a parser that gave up") }},
		{"hang", func(*Job) error { select {} }},
		{"say and hang", func(j *Job) error {
			j.At("a!/b")
			if err := j.Answer([]byte("said")); err != nil {
				return err
			}
			select {}
		}},
		{"spin", func(*Job) error {
			for i := 0; i < 2; i = 1 - i {
			}
			return nil
		}},
		{"hog", func(*Job) error {
			var hold [][]byte
			for {
				b := make([]byte, 16<<20)
				for i := range b {
					b[i] = 1
				}
				hold = append(hold, b)
				if len(hold) > 1000 {
					return fmt.Errorf("got %d blocks", len(hold))
				}
			}
		}},
		{"flood", func(j *Job) error {
			for {
				if err := j.Answer(make([]byte, 1<<20)); err != nil {
					return err
				}
			}
		}},
		{"large", func(j *Job) error { return j.Answer(make([]byte, defaultMemory*6/10)[:1]) }},
		{"calls", tryCalls},
		{"live", live},
		{"sizes", sizes},
		{"map", mapped},
		{"escape", func(j *Job) error { return j.Answer([]byte(escape())) }},
	}
}

// escape tries what a hostile file would want, and tells what worked.
func escape() string {
	var worked []string
	if _, err := os.ReadFile("/etc/passwd"); err == nil {
		worked = append(worked, "open")
	}
	if err := os.WriteFile(filepath.Join(os.TempDir(), "sandbox-escape"), []byte("x"), 0o600); err == nil {
		worked = append(worked, "write")
	}
	if _, err := net.DialTimeout("tcp", "127.0.0.1:1", time.Second); !errors.Is(err, syscall.EPERM) {
		worked = append(worked, fmt.Sprintf("network (%v)", err))
	}
	if err := exec.Command("/bin/true").Run(); err == nil {
		worked = append(worked, "exec")
	}
	if _, err := os.ReadDir("/"); err == nil {
		worked = append(worked, "list")
	}
	if err := syscall.Kill(os.Getppid(), 0); err == nil {
		worked = append(worked, "signal")
	}
	return strings.Join(worked, ",")
}

func TestMain(m *testing.M) {
	Child(os.Args, testParsers())
	os.Exit(m.Run())
}

func openTemp(t *testing.T, content string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func newPool(t *testing.T, o Options) *Pool {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute // of a machine that has other things to do
	}
	p := New(o)
	t.Cleanup(func() { p.Close() })
	return p
}

func collect(p *Pool, parser string, f *os.File, arg string) (string, error) {
	var out bytes.Buffer
	err := p.Run(context.Background(), parser, f, []byte(arg), func(b []byte) error { out.Write(b); return nil })
	return out.String(), err
}

func TestRunAnswers(t *testing.T) {
	p := newPool(t, Options{Workers: 2, Setup: []byte("-setup-")})
	f := openTemp(t, "content")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			f, err := os.Open(f.Name())
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			want := fmt.Sprintf("content-setup-%d", i)
			if got, err := collect(p, "echo", f, fmt.Sprint(i)); err != nil || got != want {
				t.Errorf("job %d: %q, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func TestFailuresEndOneJobOnly(t *testing.T) {
	f := openTemp(t, "x")
	for _, c := range []struct{ parser, reason, at, kept string }{
		{"exit", Crashed, "", ""},
		{"panic", Refused, "", ""},
		{"hang", Timeout, "", ""},
		{"spin", Timeout, "", ""},
		{"flood", TooMuch, "", "?"},
		{"no such", Refused, "", ""},
	} {
		t.Run(c.parser, func(t *testing.T) {
			patience := time.Minute
			if c.reason == Timeout {
				patience = time.Second
			}
			p := newPool(t, Options{Memory: 512 << 20, Timeout: patience, MaxAnswer: 10 << 20})
			kept, err := collect(p, c.parser, f, "")
			var failed *Failure
			if !errors.As(err, &failed) || failed.Reason != c.reason || failed.At != c.at {
				t.Fatalf("got %v, want %s", err, c.reason)
			}
			if c.kept != "?" && kept != c.kept {
				t.Errorf("kept %q, want %q", kept, c.kept)
			}
			p.opts.Timeout = 2 * time.Minute
			if got, err := collect(p, "echo", openTemp(t, "again"), ""); err != nil || got != "again" {
				t.Errorf("the next job: %q, %v", got, err)
			}
		})
	}
}

// TestKilledChildKeepsItsAnswers kills the child from outside in the middle of a job.
func TestKilledChildKeepsItsAnswers(t *testing.T) {
	p := newPool(t, Options{Timeout: 2 * time.Minute})
	f := openTemp(t, "x")
	if _, err := collect(p, "echo", f, ""); err != nil {
		t.Fatal(err)
	}
	w := <-p.slots
	pid := w.cmd.Process.Pid
	p.slots <- w
	err := p.Run(t.Context(), "say and hang", f, nil, func([]byte) error { return syscall.Kill(pid, syscall.SIGKILL) })
	var failed *Failure
	if !errors.As(err, &failed) || failed.Reason != Crashed || failed.At != "a!/b" || !strings.Contains(failed.Detail, "killed") {
		t.Fatalf("got %v", err)
	}
	if _, err := collect(p, "echo", f, ""); err != nil {
		t.Fatal(err)
	}
}

func TestMemoryHogEnds(t *testing.T) {
	if underRace {
		t.Skip("the memory limit cannot be set under the race detector")
	}
	p := newPool(t, Options{Memory: 256 << 20, Timeout: 2 * time.Minute})
	_, err := collect(p, "hog", openTemp(t, "x"), "")
	var failed *Failure
	if !errors.As(err, &failed) || failed.Reason != Memory {
		t.Fatalf("got %v, want %s", err, Memory)
	}
}

func TestConfinement(t *testing.T) {
	p := newPool(t, Options{Timeout: 2 * time.Minute})
	status, err := p.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if d := status.Degraded(); d != "" {
		t.Log("degraded: ", d)
	}
	if status.Seccomp != "" {
		t.Skip("seccomp is not available here: " + status.Seccomp)
	}
	got, err := collect(p, "escape", openTemp(t, "x"), "")
	if err != nil {
		t.Fatal(err)
	}
	if got != "" {
		t.Errorf("the child could still: %s", got)
	}
}

func TestCancelEndsRun(t *testing.T) {
	p := newPool(t, Options{Timeout: time.Minute})
	ctx, cancel := context.WithCancel(context.Background())
	f := openTemp(t, "x")
	go func() {
		time.Sleep(30 * time.Millisecond)
		cancel()
	}()
	err := p.Run(ctx, "hang", f, nil, func([]byte) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestClosedPoolRefuses(t *testing.T) {
	p := New(Options{})
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Run(context.Background(), "echo", openTemp(t, "x"), nil, nil); !errors.Is(err, errClosed) {
		t.Fatalf("got %v", err)
	}
}

func TestDegradedSaysWhat(t *testing.T) {
	if got := (Status{}).Degraded(); got != "" {
		t.Errorf("nothing degraded, got %q", got)
	}
	got := Status{Seccomp: "the kernel has no seccomp filters"}.Degraded()
	if got != "seccomp unavailable because the kernel has no seccomp filters" {
		t.Errorf("got %q", got)
	}
}

func FuzzReadFrame(f *testing.F) {
	var b bytes.Buffer
	if err := writeFrame(&b, frameAnswer, []byte("x")); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("a\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, body, err := readFrame(bytes.NewReader(b))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := writeFrame(&out, kind, body); err != nil || !bytes.HasPrefix(b, out.Bytes()) {
			t.Errorf("round trip: %v", err)
		}
	})
}

func BenchmarkRun(b *testing.B) {
	p := New(Options{})
	defer p.Close()
	f, err := os.Open("/dev/null")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for b.Loop() {
		if err := p.Run(context.Background(), "echo", f, nil, func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
