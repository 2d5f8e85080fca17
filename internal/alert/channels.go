package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// Webhook posts each alert as JSON to an address.
func Webhook(address string) (Channel, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("alerts.webhooks: want https://host/…")
	}
	client := &http.Client{Timeout: sendLimit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &webhook{u, client}, nil
}

type webhook struct {
	address *url.URL
	client  *http.Client
}

// Name is the host only: paths and queries of webhooks hold tokens.
func (w *webhook) Name() string { return w.address.Host }

func (w *webhook) Send(ctx context.Context, a Alert) error {
	body, err := a.OCSF()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.address.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("webhook %s: the address is no good", w.Name())
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		var whole *url.Error // it repeats the address, token and all
		if errors.As(err, &whole) {
			err = whole.Err
		}
		return fmt.Errorf("webhook %s: %w", w.Name(), err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode >= 300 {
		return fmt.Errorf("webhook %s answered %s", w.Name(), resp.Status)
	}
	return nil
}

// Syslog sends each alert as an RFC 5424 message to udp:host:port or tcp:host:port.
func Syslog(spec string) (Channel, error) {
	network, address, _ := strings.Cut(spec, ":")
	if _, _, err := net.SplitHostPort(address); err != nil || network != "udp" && network != "tcp" {
		return nil, fmt.Errorf("alerts: %q: want udp:host:port or tcp:host:port", spec)
	}
	return &syslog{network, address}, nil
}

type syslog struct{ network, address string }

func (s *syslog) Name() string { return "syslog " + s.address }

func (s *syslog) Send(ctx context.Context, a Alert) error {
	body, err := a.OCSF()
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, s.network, s.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	line := message(a, body)
	if s.network == "tcp" { // octet counting, RFC 6587, section 3.4.1
		line = fmt.Sprintf("%d %s", len(line), line)
	}
	_, err = io.WriteString(conn, line)
	return err
}

// message writes a syslog message: RFC 5424, section 6. Its time has six digits of a second at most.
func message(a Alert, body []byte) string {
	const facility, level = 13, 6 // log audit
	severity := level
	switch a.Severity {
	case Medium:
		severity = 4
	case High:
		severity = 2
	}
	host, err := os.Hostname()
	if err != nil || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r < 33 || r > 126 }) {
		host = "-"
	}
	return fmt.Sprintf("<%d>1 %s %s chaperone %d alert - %s", facility*8+severity, a.Time.UTC().Format("2006-01-02T15:04:05.000000Z"), host, os.Getpid(), body)
}
