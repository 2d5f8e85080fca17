package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
)

// fetchTime is how long fetching a bundle may take.
const fetchTime = 2 * time.Minute

// Fetch reads a bundle from a file, or from an https address; http is for this machine only. What comes is as yet trusted by nobody.
func Fetch(ctx context.Context, source string) ([]byte, error) {
	if !IsAddress(source) {
		b, err := readBounded(source)
		if err != nil {
			return nil, fmt.Errorf("fetch catalog: %w", err)
		}
		return b, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	b, err := download(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("fetch catalog: %w", err)
	}
	return b, nil
}

// IsAddress reports whether a source is an address and no file.
func IsAddress(source string) bool { return strings.Contains(source, "://") }

// CheckSource says what is wrong with a source.
func CheckSource(source string) error {
	if !IsAddress(source) {
		return nil
	}
	u, err := url.Parse(source)
	if err != nil {
		return err
	}
	return checkURL(u)
}

func checkURL(u *url.URL) error {
	local := u.Hostname() == "localhost"
	if ip := net.ParseIP(u.Hostname()); ip != nil {
		local = ip.IsLoopback()
	}
	switch {
	case u.Scheme == "https", u.Scheme == "http" && local:
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("%s: http is for this machine only; use https", u.Redacted())
	}
	return fmt.Errorf("%s: a source is a file or an https address", u.Redacted())
}

func download(ctx context.Context, source string) ([]byte, error) {
	if err := CheckSource(source); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > 4 {
			return errors.New("too many redirects")
		}
		return checkURL(req.URL)
	}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server says %s", res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, bundle.MaxSize+1))
	if err == nil && len(b) > bundle.MaxSize {
		err = fmt.Errorf("it has more than %d bytes", bundle.MaxSize)
	}
	return b, err
}
