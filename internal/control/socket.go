package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/event"
)

// SocketName is the name of the control socket in a data directory.
const SocketName = "control.sock"

// ErrNotRunning says that no process serves the data directory.
var ErrNotRunning = errors.New("no chaperone is running on this data directory")

// ErrLost says that the process that serves the data directory ended, or hung up, before it answered. What it had acknowledged before is on
// record; whether the operation that was under way took effect is not known.
var ErrLost = errors.New("the process ended before it answered")

// maxArgs bounds the arguments of an operation, in bytes.
const maxArgs = 1 << 20

const (
	argsHeader    = "Chaperone-Args"
	errorTrailer  = "Chaperone-Error"
	statusTrailer = "Chaperone-Status"

	statusDone      = "done"
	statusForbidden = "forbidden"
	statusFull      = "full"   // the disk
	statusUnfit     = "unfit"  // what was sent can be no record
	statusForged    = "forged" // and nobody may send it
)

// Accounts tells which account a user id of this machine is. Root is an administrator and does not read.
type Accounts interface {
	ByUser(uid uint32) (Caller, bool)
}

type peerKey struct{}

// Group is the group of this machine whose members may use the socket, where it exists; what they may do is their account's.
const Group = "chaperone"

// Listen binds DIR/control.sock. Only the process that holds the lock of DIR may call it: it takes the place of a socket left behind.
func Listen(dir string) (net.Listener, error) {
	short, err := shorten(dir)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer short.Close()
	path := short.path()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // the short way to it is gone by then
	err = os.Chmod(path, 0o660)
	if group, unknown := user.LookupGroup(Group); err == nil && unknown == nil {
		if gid, wrong := strconv.Atoi(group.Gid); wrong == nil {
			err = os.Chown(path, -1, gid)
		}
	}
	if errors.Is(err, os.ErrPermission) && os.Geteuid() != 0 {
		err = nil // whoever is not root and not in the group serves its own group
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return l, nil
}

// short is a way to a data directory that fits into the 107 bytes of a socket's address (unix(7)), however long its own path is.
type short struct{ dir *os.File }

func shorten(dir string) (short, error) {
	d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	return short{d}, err
}

func (s short) path() string { return fmt.Sprintf("/proc/self/fd/%d/%s", s.dir.Fd(), SocketName) }
func (s short) Close() error { return s.dir.Close() }

// Serve answers operations on a listener of Listen(dir) until the context ends.
func Serve(ctx context.Context, l net.Listener, dir string, ops Operations, accounts Accounts) error {
	defer os.Remove(filepath.Join(dir, SocketName))
	srv := &http.Server{
		Handler:           handler(ops, accounts),
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    2 * maxArgs,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peer(c))
		},
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Shutdown(drain)
	}()
	err := srv.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}

// peer returns the user id at the other end of a Unix socket, as the kernel knows it, and whether it is known.
func peer(c net.Conn) *uint32 {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return nil
	}
	var uid *uint32
	raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = &cred.Uid
		}
	})
	return uid
}

func handler(ops Operations, accounts Accounts) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, _ := r.Context().Value(peerKey{}).(*uint32)
		if uid == nil {
			http.Error(w, "who calls is not known", http.StatusForbidden)
			return
		}
		caller, ok := accounts.ByUser(*uid)
		if !ok {
			http.Error(w, fmt.Sprintf("user id %d has no account here", *uid), http.StatusForbidden)
			return
		}
		w.Header().Set("Trailer", errorTrailer+", "+statusTrailer)
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		call := &Call{Caller: caller, Args: json.RawMessage(r.Header.Get(argsHeader)), In: r.Body, Out: flushing{w, rc}}
		err := ops.Run(r.Context(), strings.TrimPrefix(r.URL.Path, "/"), call)
		if err != nil {
			b, _ := json.Marshal(err.Error())
			w.Header().Set(errorTrailer, oneLine(b))
		}
		status := statusDone
		switch {
		case errors.Is(err, ErrForbidden) && errors.Is(err, event.ErrUnfit):
			status = statusForged
		case errors.Is(err, event.ErrUnfit):
			status = statusUnfit
		case errors.Is(err, ErrForbidden):
			status = statusForbidden
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
			status = statusFull
		}
		w.Header().Set(statusTrailer, status)
	})
}

// oneLine makes JSON fit for a header: there is no control character left but DEL, which JSON allows and HTTP does not.
func oneLine(b []byte) string { return strings.ReplaceAll(string(b), "\x7f", `\u007f`) }

// told is an error of the other process in its own words, which is also another one when kind is set.
type told struct {
	words string
	kind  error
}

func (t told) Error() string { return t.words }
func (t told) Unwrap() error { return t.kind }

// lost is ErrLost in words for people.
type lost struct {
	name, dir string
	cause     error
}

func (l lost) Error() string {
	return fmt.Sprintf("%s: the process that serves %s ended before it answered (%v)", l.name, l.dir, l.cause)
}
func (l lost) Is(target error) bool { return target == ErrLost }
func (l lost) Unwrap() error        { return l.cause }

// sink remembers why it could not be written to: that is not the other side's failure.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}

// flushing sends each write at once, so that the other side sees progress.
type flushing struct {
	w  io.Writer
	rc *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = f.rc.Flush()
	}
	return n, err
}

// Do asks the process that serves dir to run an operation. It returns ErrNotRunning when there is none, and the operation's own error.
func Do(ctx context.Context, dir, name string, args any, in io.Reader, out io.Writer) error {
	short, err := shorten(dir)
	if errors.Is(err, os.ErrNotExist) {
		return ErrNotRunning
	}
	if err != nil {
		return err
	}
	defer short.Close()
	encoded, err := json.Marshal(args)
	if err != nil {
		return err
	}
	if len(encoded) > maxArgs {
		return fmt.Errorf("%s: arguments are larger than %d bytes", name, maxArgs)
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", short.path())
		},
		DisableKeepAlives: true,
	}}
	body := io.ReadCloser(http.NoBody) // as it is, so that the server watches for a client that goes away
	if in != nil {
		body = io.NopCloser(in)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/"+name, body)
	if err != nil {
		return err
	}
	req.Header.Set(argsHeader, oneLine(encoded))
	resp, err := client.Do(req)
	if err != nil {
		return callError(ctx, err, dir, name)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		words, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<12))
		return fmt.Errorf("%s: %w: %s", name, ErrForbidden, strings.TrimSpace(string(words)))
	}
	to := &sink{w: out}
	if _, err := io.Copy(to, resp.Body); err != nil {
		if to.err != nil {
			return fmt.Errorf("%s: write the answer: %w", name, to.err)
		}
		return callError(ctx, err, dir, name)
	}
	return answerError(resp.Trailer, dir, name)
}

// callError says in words why a call was not answered to its end.
func callError(ctx context.Context, err error, dir, name string) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		if errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("%s: %w; you must be root or in the group %s", filepath.Join(dir, SocketName), os.ErrPermission, Group)
		}
		return ErrNotRunning
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", name, context.Cause(ctx))
	}
	var request *url.Error // its words hold an address that means nothing to people
	if errors.As(err, &request) {
		err = request.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the connection was closed")
	}
	return lost{name, dir, err}
}

// answerError returns the operation's own error, as the end of its answer tells it.
func answerError(trailer http.Header, dir, name string) error {
	status := trailer.Get(statusTrailer)
	if text := trailer.Get(errorTrailer); text != "" {
		var words string
		if err := json.Unmarshal([]byte(text), &words); err != nil {
			words = text
		}
		return told{words, map[string]error{statusForbidden: ErrForbidden, statusFull: unix.ENOSPC, statusUnfit: event.ErrUnfit,
			statusForged: event.Unfit(ErrForbidden)}[status]}
	}
	if status == "" {
		return lost{name, dir, errors.New("the answer was cut short")}
	}
	return nil
}
