package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// SocketName is the name of the control socket in a data directory.
const SocketName = "control.sock"

// ErrNotRunning says that no process serves the data directory.
var ErrNotRunning = errors.New("no chaperone is running on this data directory")

// maxArgs bounds the arguments of an operation, in bytes.
const maxArgs = 1 << 20

const (
	argsHeader    = "Chaperone-Args"
	errorTrailer  = "Chaperone-Error"
	statusTrailer = "Chaperone-Status"

	statusDone      = "done"
	statusForbidden = "forbidden"
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
		if errors.Is(err, ErrForbidden) {
			status = statusForbidden
		}
		w.Header().Set(statusTrailer, status)
	})
}

// oneLine makes JSON fit for a header: there is no control character left but DEL, which JSON allows and HTTP does not.
func oneLine(b []byte) string { return strings.ReplaceAll(string(b), "\x7f", `\u007f`) }

// refusal is an error of the other process that says ErrForbidden in words of its own.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ErrForbidden }

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
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			if errors.Is(err, os.ErrPermission) {
				return fmt.Errorf("%s: %w; you must be root or in the group %s", filepath.Join(dir, SocketName), os.ErrPermission, Group)
			}
			return ErrNotRunning
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		words, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<12))
		return fmt.Errorf("%s: %w: %s", name, ErrForbidden, strings.TrimSpace(string(words)))
	}
	if _, err := io.Copy(out, resp.Body); err != nil {
		return fmt.Errorf("%s: the connection broke: %w", name, err)
	}
	if text := resp.Trailer.Get(errorTrailer); text != "" {
		var words string
		if err := json.Unmarshal([]byte(text), &words); err != nil {
			words = text
		}
		if resp.Trailer.Get(statusTrailer) == statusForbidden {
			return refusal(words)
		}
		return errors.New(words)
	}
	if resp.Trailer.Get(statusTrailer) == "" {
		return fmt.Errorf("%s: the answer was cut short", name)
	}
	return nil
}
