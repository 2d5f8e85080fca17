package control_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chaperone-im/chaperone/internal/control"
)

type table map[uint32]control.Caller

func (t table) ByUser(uid uint32) (control.Caller, bool) { c, ok := t[uid]; return c, ok }

func serve(t *testing.T, ops control.Operations, accounts control.Accounts) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 40)) // longer than the address of a socket may be
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	l, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	go func() { done <- control.Serve(ctx, l, dir, ops, accounts) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, control.SocketName)); err == nil {
			t.Error("the socket was left behind")
		}
	})
	return dir
}

func me() table {
	return table{uint32(os.Getuid()): {Account: "root", Roles: []control.Role{control.Administrator}}}
}

func TestStreamsBothWays(t *testing.T) {
	type args struct{ Prefix string }
	ops := control.Operations{control.With("echo", nil, func(_ context.Context, c *control.Call, a args) error {
		b, err := io.ReadAll(c.In)
		if err == nil {
			_, err = io.WriteString(c.Out, a.Prefix+string(b)+c.Caller.Account)
		}
		return err
	})}
	ops[0].Needs = []control.Role{control.Nobody}
	dir := serve(t, ops, me())
	var out bytes.Buffer
	if err := control.Do(t.Context(), dir, "echo", args{"> "}, strings.NewReader(strings.Repeat("x", 1<<17)), &out); err != nil {
		t.Fatal(err)
	}
	if want := "> " + strings.Repeat("x", 1<<17) + "root"; out.String() != want {
		t.Errorf("got %d bytes, want %d", out.Len(), len(want))
	}
}

func TestErrorsAndRoles(t *testing.T) {
	ops := control.Operations{
		{Name: "fail", Needs: []control.Role{control.Administrator}, Run: func(_ context.Context, c *control.Call) error {
			io.WriteString(c.Out, "half")
			return errors.New("two\nlines")
		}},
		{Name: "read", Needs: []control.Role{control.Reviewer, control.Counsel}, Run: func(context.Context, *control.Call) error { return nil }},
	}
	dir := serve(t, ops, me())
	var out bytes.Buffer
	if err := control.Do(t.Context(), dir, "fail", nil, nil, &out); err == nil || err.Error() != "two\nlines" || out.String() != "half" {
		t.Errorf("error %v, output %q", err, out.String())
	}
	if err := control.Do(t.Context(), dir, "read", nil, nil, &out); !errors.Is(err, control.ErrForbidden) || !strings.Contains(err.Error(), "reviewer") {
		t.Errorf("an administrator read content: %v", err)
	}
	if err := control.Do(t.Context(), dir, "nope", nil, nil, &out); err == nil {
		t.Error("an unknown operation succeeded")
	}
}

func TestUnknownUserIsRefused(t *testing.T) {
	dir := serve(t, control.Operations{}, table{})
	if err := control.Do(t.Context(), dir, "x", nil, nil, io.Discard); !errors.Is(err, control.ErrForbidden) {
		t.Errorf("error is %v", err)
	}
}

func TestNotRunning(t *testing.T) {
	if err := control.Do(t.Context(), t.TempDir(), "x", nil, nil, io.Discard); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("error is %v", err)
	}
}

func TestClientThatGoesAwayCancels(t *testing.T) {
	started, canceled := make(chan struct{}), make(chan struct{})
	ops := control.Operations{{Name: "wait", Needs: []control.Role{control.Nobody}, Run: func(ctx context.Context, _ *control.Call) error {
		close(started)
		<-ctx.Done()
		close(canceled)
		return ctx.Err()
	}}}
	dir := serve(t, ops, me())
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	if err := control.Do(ctx, dir, "wait", nil, nil, io.Discard); err == nil {
		t.Error("a canceled call succeeded")
	}
	<-canceled
}

func TestArgumentsAreStrict(t *testing.T) {
	type args struct{ Query string }
	var got string
	ops := control.Operations{control.With("find", []control.Role{control.Nobody}, func(_ context.Context, _ *control.Call, a args) error {
		got = a.Query
		return nil
	})}
	dir := serve(t, ops, me())
	if err := control.Do(t.Context(), dir, "find", args{"\x7f\r\nX: y \u00e9\u2028"}, nil, io.Discard); err != nil || got != "\x7f\r\nX: y \u00e9\u2028" {
		t.Errorf("arrived as %q: %v", got, err)
	}
	if err := control.Do(t.Context(), dir, "find", map[string]string{"Qeury": "x"}, nil, io.Discard); err == nil || !strings.Contains(err.Error(), "Qeury") {
		t.Errorf("a misspelt argument gave %v", err)
	}
}

func TestSocketIsForTheGroupOnly(t *testing.T) {
	dir := serve(t, control.Operations{}, me())
	info, err := os.Stat(filepath.Join(dir, control.SocketName))
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket is %v (%v)", info.Mode(), err)
	}
}

func TestSocketLeftBehindIsReplaced(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // the first is never closed, as after a crash
		if _, err := control.Listen(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// broken answers each call on a control socket with bytes of its own, and hangs up.
func broken(t *testing.T, answer string) string {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, control.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				io.Copy(io.Discard, r.Body)
			}
			io.WriteString(c, answer)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return dir
}

func TestAServerThatDiesIsSaidInWords(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Chaperone-Error, Chaperone-Status\r\n\r\n"
	for name, answer := range map[string]string{
		"before it answered": "", "in the first line": "HTTP/1.1 2", "in the answer": head + "5\r\nab", "before the trailer": head + "2\r\nab\r\n0\r\n", "without trailer": head + "2\r\nab\r\n0\r\n\r\n",
		"no HTTP": "hello\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := broken(t, answer)
			err := control.Do(t.Context(), dir, "record", nil, strings.NewReader("x"), io.Discard)
			if !errors.Is(err, control.ErrLost) {
				t.Fatalf("error is %v", err)
			}
			if !strings.HasPrefix(err.Error(), "record: the process that serves "+dir+" ended before it answered") || strings.Contains(err.Error(), "http://") {
				t.Errorf("it says %v", err)
			}
		})
	}
}

func TestWhatCannotBeWrittenHereIsNotTheServersFault(t *testing.T) {
	dir := serve(t, control.Operations{{Name: "say", Needs: []control.Role{control.Nobody}, Run: func(_ context.Context, c *control.Call) error {
		_, err := io.WriteString(c.Out, "words")
		return err
	}}}, me())
	r, w := io.Pipe()
	r.CloseWithError(syscall.EPIPE)
	if err := control.Do(t.Context(), dir, "say", nil, nil, w); !errors.Is(err, syscall.EPIPE) || errors.Is(err, control.ErrLost) {
		t.Errorf("error is %v", err)
	}
}

func TestAFullDiskIsToldAcrossTheSocket(t *testing.T) {
	dir := serve(t, control.Operations{{Name: "fill", Needs: []control.Role{control.Nobody}, Run: func(context.Context, *control.Call) error {
		return fmt.Errorf("journal: append: %w", syscall.ENOSPC)
	}}}, me())
	if err := control.Do(t.Context(), dir, "fill", nil, nil, io.Discard); !errors.Is(err, syscall.ENOSPC) || err.Error() != "journal: append: no space left on device" {
		t.Errorf("error is %v", err)
	}
}
