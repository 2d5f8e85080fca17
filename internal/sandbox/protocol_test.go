package sandbox

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns the two ends of a socket pair: the child's, and the parent's descriptor.
func pair(t *testing.T) (*child, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(fds[0]), unix.Close(fds[1]) })
	return &child{sock: socket(fds[1]), parsers: testParsers()}, fds[0]
}

// send sends what a parent would, or would not.
func send(t *testing.T, fd int, head, body []byte, f *os.File) {
	t.Helper()
	var rights []byte
	if f != nil {
		rights = unix.UnixRights(int(f.Fd()))
	}
	if err := unix.Sendmsg(fd, head, rights, nil, 0); err != nil {
		t.Fatal(err)
	}
	if len(body) > 0 {
		if _, err := unix.Write(fd, body); err != nil {
			t.Fatal(err)
		}
	}
}

func sized(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func TestChildAnswers(t *testing.T) {
	c, parent := pair(t)
	f := openTemp(t, "content")
	for i, r := range []request{{Parser: "echo", Setup: []byte("-setup-")}, {Parser: "echo", Arg: []byte("arg")}} {
		body, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		send(t, parent, sized(len(body)), body, f)
		if err := c.one(); err != nil {
			t.Fatal(err)
		}
		kind, answer, err := readFrame(socket(parent))
		if err != nil || kind != frameAnswer || string(answer) != "content-setup-"+string(r.Arg) {
			t.Errorf("request %d: %c %q, %v", i, kind, answer, err)
		}
		if kind, _, err := readFrame(socket(parent)); err != nil || kind != frameDone {
			t.Errorf("request %d: %c, %v", i, kind, err)
		}
	}
}

func TestChildRefusesBadRequests(t *testing.T) {
	f := openTemp(t, "x")
	for _, c := range []struct {
		name       string
		head, body []byte
		file       *os.File
	}{
		{"no descriptor", sized(2), []byte("{}"), nil},
		{"too large", sized(maxRequest + 1), nil, f},
		{"no JSON", sized(3), []byte("not"), f},
	} {
		child, parent := pair(t)
		send(t, parent, c.head, c.body, c.file)
		if err := child.one(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	child, parent := pair(t)
	if err := unix.Shutdown(parent, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if err := child.one(); !errors.Is(err, io.EOF) {
		t.Errorf("a parent that went away: %v", err)
	}
}

// TestChildThatDiedIdle loses nothing: the next job gets another child.
func TestChildThatDiedIdle(t *testing.T) {
	p := newPool(t, Options{})
	f := openTemp(t, "x")
	if _, err := collect(p, "kill-nobody", f, ""); err == nil {
		t.Fatal("an unknown parser ran")
	}
	w := <-p.slots
	if err := syscall.Kill(w.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.slots <- w
	if got, err := collect(p, "echo", f, ""); err != nil || got != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestAnswerErrorEndsTheJob hands the caller's own error back.
func TestAnswerErrorEndsTheJob(t *testing.T) {
	p := newPool(t, Options{})
	want := errors.New("enough")
	err := p.Run(t.Context(), "echo", openTemp(t, "x"), nil, func([]byte) error { return want })
	if !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	if got, err := collect(p, "echo", openTemp(t, "y"), ""); err != nil || got != "y" {
		t.Errorf("the next job: %q, %v", got, err)
	}
}

// TestNoBinary says what is wrong instead of trying for ever.
func TestNoBinary(t *testing.T) {
	p := newPool(t, Options{Binary: filepath.Join(t.TempDir(), "nothing")})
	if _, err := p.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "start child") {
		t.Errorf("got %v", err)
	}
	if err := p.Run(t.Context(), "echo", openTemp(t, "x"), nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestNotOurBinary starts a program that is no child of ours.
func TestNotOurBinary(t *testing.T) {
	if _, err := os.Stat("/bin/true"); err != nil {
		t.Skip(err)
	}
	p := newPool(t, Options{Binary: "/bin/true"})
	if _, err := p.Status(t.Context()); err == nil {
		t.Error("it was taken for one")
	}
}

// TestNoGrandchildren keeps a child from starting children.
func TestNoGrandchildren(t *testing.T) {
	t.Setenv(childMark, "1")
	p := newPool(t, Options{})
	if _, err := p.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "child itself") {
		t.Errorf("got %v", err)
	}
}

func TestFrameLimits(t *testing.T) {
	if err := writeFrame(io.Discard, frameAnswer, make([]byte, maxFrame+1)); !errors.Is(err, errFrameTooLarge) {
		t.Errorf("write: %v", err)
	}
	head := append([]byte{frameAnswer}, sized(maxFrame+1)...)
	if _, _, err := readFrame(bytes.NewReader(head)); !errors.Is(err, errFrameTooLarge) {
		t.Errorf("read: %v", err)
	}
	if _, _, err := readFrame(bytes.NewReader([]byte("a\x00\x00\x00\x05abc"))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %v", err)
	}
}

func TestPatience(t *testing.T) {
	for _, c := range []struct {
		size int64
		want time.Duration
	}{
		{-1, 2 * time.Second}, {0, 2 * time.Second}, {8 << 20, 3 * time.Second}, {1 << 30, 130 * time.Second}, {1 << 60, 130 * time.Second},
	} {
		if got := Patience(2*time.Second, c.size); got != c.want {
			t.Errorf("%d bytes: %v, want %v", c.size, got, c.want)
		}
	}
}

func TestTailKeepsTheFirstLine(t *testing.T) {
	var b tail
	for range 10000 {
		if n, err := b.Write([]byte("fatal error: out of memory\nmore\n")); err != nil || n != 32 {
			t.Fatal(n, err)
		}
	}
	if got := b.last(); got != "fatal error: out of memory" || len(b.b) > maxStderr {
		t.Errorf("%q, %d bytes", got, len(b.b))
	}
}

func TestFailureSaysWhere(t *testing.T) {
	if got := (&Failure{Timeout, "a!/b", "why"}).Error(); got != "sandbox: timeout at a!/b: why" {
		t.Errorf("got %q", got)
	}
}
