package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/chaperone-im/chaperone/internal/durable"
)

// Outlet brings a bundle to where the administrator of this machine cannot change it. It returns nil when the recipient has it.
type Outlet interface {
	Send(ctx context.Context, b Bundle) error
}

// paced is an outlet that wants a longer pause between two bundles than others.
type paced interface{ Every() time.Duration }

// placed is an outlet that knows whether what it keeps lies where whoever can change a data directory can change it too.
type placed interface{ Near(data string) bool }

// Recipient is an outlet under the name that progress and health know it by.
type Recipient struct {
	Name   string
	Outlet Outlet
}

// ParseRecipient makes the recipient that a line of the configuration names: "file:/folder", "https://…", or
// "syslog:udp://host:port", "syslog:tcp://host:port", "syslog:unix:/path". MailRecipient makes those by mail.
func ParseRecipient(spec string) (Recipient, error) {
	kind, rest, _ := strings.Cut(spec, ":")
	var o Outlet
	var err error
	switch kind {
	case "file":
		o = fileDrop{dir: strings.TrimPrefix(rest, "//")}
	case "https", "http":
		o, err = newWebhook(spec)
	case "syslog":
		o, err = newSyslog(rest)
	default:
		err = errors.New("want file:/folder, https://…, syslog:… or mailto:…")
	}
	if err != nil {
		return Recipient{}, fmt.Errorf("checkpoint recipient %q: %w", spec, err)
	}
	return Recipient{Name: spec, Outlet: o}, nil
}

// fileDrop puts each bundle into a new file. The folder should be on another machine, or append-only.
type fileDrop struct{ dir string }

// Send writes the bundle and syncs it; a file that is there already is never touched.
func (d fileDrop) Send(_ context.Context, b Bundle) error {
	raw, err := b.Encode()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	path := filepath.Join(d.dir, fmt.Sprintf("checkpoint-%020d-%020d-%x.json", b.From, b.To, sum[:4]))
	err = durable.Create(path, raw, 0o644) // a torn bundle is worth less than none; it is sent again
	if errors.Is(err, fs.ErrExist) {
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, raw) {
			return nil
		}
		return fmt.Errorf("file drop: %s is there with other bytes", path)
	}
	if err != nil {
		return fmt.Errorf("file drop: %w", err)
	}
	return nil
}

// Near implements placed: a folder on the file system of the data is no place outside.
func (d fileDrop) Near(data string) bool {
	var here, there syscall.Stat_t
	return syscall.Stat(data, &here) == nil && syscall.Stat(d.dir, &there) == nil && here.Dev == there.Dev
}

// Local reports whether the address of a recipient is one of this machine: who administers it can change what is kept there. A name is looked up
// nowhere; only that of this machine is known.
func Local(spec string) bool {
	to, err := ParseRecipient(spec)
	if err != nil {
		return false
	}
	_, folder := to.Outlet.(fileDrop)
	p, ok := to.Outlet.(placed)
	return ok && !folder && p.Near("")
}

// onThisMachine reports whether a host is this one: by a loopback address, by an address of an interface, by its own name.
func onThisMachine(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	own, err := os.Hostname()
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && host == strings.ToLower(own) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	all, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(all, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		if !ok {
			return false
		}
		mine, ok := netip.AddrFromSlice(n.IP)
		return ok && mine.Unmap() == ip
	})
}

// Near implements placed: what is on this machine is no place outside.
func (w *webhook) Near(string) bool {
	u, err := url.Parse(w.url)
	return err == nil && onThisMachine(u.Hostname())
}

// webhook posts each bundle as JSON. Any 2xx answer is an acknowledgement.
type webhook struct {
	url    string
	client *http.Client
}

func newWebhook(spec string) (*webhook, error) {
	u, err := url.Parse(spec)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" && (ip == nil || !ip.IsLoopback()) {
		return nil, errors.New("http is accepted only to a loopback address")
	}
	return &webhook{url: spec, client: &http.Client{
		Timeout:       sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Send posts the bundle.
func (w *webhook) Send(ctx context.Context, b Bundle) error {
	raw, err := b.Encode()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("webhook: answered %s", resp.Status)
	}
	return nil
}
