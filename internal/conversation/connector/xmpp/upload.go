package xmpp

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

var errNoAddress = errors.New("a slot without an address")

// uploads is the HTTPS side of a gateway: files go up only after they were judged and recorded, so whatever the server has may be fetched.
type uploads struct {
	g        *Gateway
	upstream *url.URL
	public   string
	max      int64
	tls      *tls.Config
	slots    slots
	client   *http.Client
	listener net.Listener
}

const defaultMaxFile = 100 << 20

func newUploads(g *Gateway) (*uploads, error) {
	c := g.cfg.Uploads
	base, err := url.Parse(c.Upstream)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("uploads: upstream %q is no address", c.Upstream)
	}
	u := &uploads{
		g: g, upstream: base, public: strings.TrimSuffix(c.Public, "/"), max: c.MaxBytes,
		slots: slots{open: map[string]*slot{}, files: map[string]judgedFile{}},
		client: &http.Client{
			Timeout:       5 * time.Minute,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     &http.Transport{DialContext: (&net.Dialer{Timeout: g.times.Dial}).DialContext, ResponseHeaderTimeout: time.Minute, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute},
		},
	}
	if u.max <= 0 {
		u.max = defaultMaxFile
	}
	cert, key := c.Certificate, c.Key
	if cert == "" {
		cert, key = g.cfg.Listen[0].Certificate, g.cfg.Listen[0].Key
	}
	u.tls, err = certificate(cert, key)
	return u, err
}

func (u *uploads) listen(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", u.g.cfg.Uploads.Listen)
	if err != nil {
		return err
	}
	u.listener = l
	return nil
}

func (u *uploads) address() net.Addr {
	u.g.mu.Lock()
	defer u.g.mu.Unlock()
	if u.listener == nil {
		return nil
	}
	return u.listener.Addr()
}

// base returns the address that clients see, without a path.
func (u *uploads) base() string {
	if u.public != "" {
		return u.public
	}
	_, port, _ := net.SplitHostPort(u.address().String())
	return "https://" + net.JoinHostPort(u.g.cfg.Domain, port)
}

func (u *uploads) serve(ctx context.Context) {
	server := &http.Server{
		Handler: u, TLSConfig: u.tls, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Minute, WriteTimeout: 10 * time.Minute,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(u.g.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.g.times.Drain)
		defer cancel()
		if server.Shutdown(drain) != nil {
			server.Close()
		}
	}()
	if err := server.ServeTLS(u.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		u.g.log.Error("uploads ended", "error", err)
	}
	<-stopped
}

// ServeHTTP takes uploads, serves downloads, and lets web clients ask whether they may.
func (u *uploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, PUT, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Content-Type, Authorization")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	if !u.g.admit(host) {
		http.Error(w, "Too many connections.", http.StatusTooManyRequests)
		return
	}
	defer u.g.release(host)
	switch r.Method {
	case http.MethodPut:
		u.put(w, r)
	case http.MethodGet, http.MethodHead:
		u.get(w, r)
	case http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "Only uploads and downloads.", http.StatusMethodNotAllowed)
	}
}

func (u *uploads) put(w http.ResponseWriter, r *http.Request) {
	name := r.URL.RequestURI()
	s := u.slots.take(name, u.g.clock.Now())
	if s == nil {
		http.Error(w, "There is no upload slot of this name, or it has expired. Ask for a new one.", http.StatusNotFound)
		return
	}
	status, words, again := u.receive(r, s)
	u.slots.settle(name, s, again)
	if status == http.StatusCreated {
		w.WriteHeader(status)
		return
	}
	http.Error(w, words, status)
}

// receive reads, judges and passes on one file. The status says how it went; again says whether the slot may be tried again.
func (u *uploads) receive(r *http.Request, s *slot) (status int, words string, again bool) {
	if r.ContentLength != s.size {
		return http.StatusBadRequest, "The file is not of the size that was asked for; its size must be said before it (Content-Length), so it cannot come in chunks.", true
	}
	body, err := os.CreateTemp("", "chaperone-upload-*")
	if err != nil {
		u.g.log.Error("upload: temporary file", "error", err)
		return http.StatusInsufficientStorage, "The file cannot be taken now. Please try again later.", true
	}
	defer body.Close()
	os.Remove(body.Name()) // it lives as long as it is open, also when we are killed
	sum := sha256.New()
	if n, err := io.Copy(io.MultiWriter(body, sum), io.LimitReader(r.Body, s.size)); err != nil || n != s.size {
		return http.StatusBadRequest, "The file did not arrive whole.", true
	}
	e := u.g.newEvent(event.FileUpload)
	e.From.Handle, e.Host.Address, e.Native = s.owner, s.host, r.URL.Path
	file := event.File{Name: s.name, Type: s.kind, Size: s.size, SHA256: hex.EncodeToString(sum.Sum(nil)), URL: u.base() + s.get}
	e.Files = []event.File{file}
	ctx, cancel := context.WithTimeout(r.Context(), 2*u.g.times.Judge)
	defer cancel()
	if err := u.g.deps.Judge.JudgeFile(ctx, e, body, s.size); err != nil {
		u.g.log.Error("upload refused: not recorded", "error", err)
		return http.StatusServiceUnavailable, notRecorded.text, true
	}
	judged := judgedFile{file: e.Files[0], hits: inFile(e.Hits, s.name), not: e.NotChecked}
	u.slots.remember(s.get, judged)
	if stops(&e.Verdict) {
		return http.StatusForbidden, refusalOf(&e.Verdict).text, false
	}
	err = u.pass(ctx, r, io.NewSectionReader(body, 0, s.size), s)
	u.g.handedOver(ctx, e, err)
	if err != nil {
		u.g.log.Warn("upload not taken by the server", "error", err)
		return http.StatusBadGateway, "The server behind this gateway did not take the file. Please try again later.", true
	}
	return http.StatusCreated, "", false
}

// inFile marks hits as found in a file rather than in a text.
func inFile(hits []event.Hit, name string) []event.Hit {
	out := make([]event.Hit, len(hits))
	for i, h := range hits {
		if h.File == "" {
			h.File = name
		}
		h.Spans = nil
		out[i] = h
	}
	return out
}

// target returns the address at the server for a request to us.
func (u *uploads) target(r *http.Request) string {
	at := *u.upstream
	at.Path, at.RawPath, at.RawQuery = r.URL.Path, r.URL.RawPath, r.URL.RawQuery
	return at.String()
}

func (u *uploads) pass(ctx context.Context, r *http.Request, body io.Reader, s *slot) error {
	up, err := http.NewRequestWithContext(ctx, http.MethodPut, u.target(r), body)
	if err != nil {
		return err
	}
	up.ContentLength = s.size
	u.host(up)
	for _, name := range []string{"Authorization", "Cookie", "Expires", "Content-Type"} { // XEP-0363, section 5
		if v := r.Header.Get(name); v != "" {
			up.Header.Set(name, v)
		}
	}
	res, err := u.client.Do(up)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	io.CopyN(io.Discard, res.Body, 64<<10)
	if res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %s", res.Status)
	}
	return nil
}

// host names the XMPP domain to a server that serves several.
func (u *uploads) host(r *http.Request) {
	if u.g.cfg.Uploads.Host != "" {
		r.Host = u.g.cfg.Uploads.Host
	}
}

// get serves a file that was let through. Nothing else that the server may offer under its HTTP port can be reached.
func (u *uploads) get(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(path.Clean(r.URL.Path)+"/", u.prefix()) || strings.Contains(r.URL.EscapedPath(), "%2e") || path.Clean(r.URL.Path) != r.URL.Path {
		http.NotFound(w, r)
		return
	}
	down, err := http.NewRequestWithContext(r.Context(), r.Method, u.target(r), nil)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	u.host(down)
	for _, name := range []string{"Range", "If-None-Match", "If-Modified-Since"} {
		if v := r.Header.Get(name); v != "" {
			down.Header.Set(name, v)
		}
	}
	res, err := u.client.Do(down)
	if err != nil {
		http.Error(w, "The server behind this gateway does not answer.", http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	for _, name := range []string{"Content-Type", "Content-Length", "Content-Disposition", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified", "Cache-Control"} {
		if v := res.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(res.StatusCode)
	io.Copy(w, res.Body)
}

func (u *uploads) prefix() string {
	if p := u.g.cfg.Uploads.Path; p != "" {
		return "/" + strings.Trim(p, "/") + "/"
	}
	return "/file_share/"
}
