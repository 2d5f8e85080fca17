package alert

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Webhook posts each alert as JSON to an address.
func Webhook(address string) (Channel, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("alerts: %q is not an http address", address)
	}
	return &webhook{u, &http.Client{Timeout: 10 * time.Second}}, nil
}

type webhook struct {
	address *url.URL
	client  *http.Client
}

// Name leaves out the query, where tokens stand.
func (w *webhook) Name() string { return w.address.Host }

func (w *webhook) Send(ctx context.Context, a Alert) error {
	body, err := a.OCSF()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.address.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode >= 300 {
		return fmt.Errorf("webhook answered %s", resp.Status)
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
	host, _ := os.Hostname()
	const facility = 13 // log audit
	level := map[Severity]int{Informational: 6, Medium: 4, High: 2}[a.Severity]
	line := fmt.Sprintf("<%d>1 %s %s chaperone %d alert - %s", facility*8+level, a.Time.UTC().Format(time.RFC3339Nano), host, os.Getpid(), body)
	if s.network == "tcp" { // octet counting, RFC 6587, section 3.4.1
		line = fmt.Sprintf("%d %s", len(line), line)
	}
	_, err = io.WriteString(conn, line)
	return err
}

// MailConfig is how mail goes out. Password is the secret itself, already read from its reference.
type MailConfig struct {
	Server   string // host:port
	From     string
	To       []string
	User     string
	Password string
}

// Mail sends each alert as a mail. A server that offers STARTTLS is spoken to encrypted; a password goes out only so.
func Mail(c MailConfig) (Channel, error) {
	if _, _, err := net.SplitHostPort(c.Server); err != nil || c.From == "" || len(c.To) == 0 {
		return nil, fmt.Errorf("alerts.mail: server, from and to must be given")
	}
	for _, address := range append([]string{c.From}, c.To...) {
		if strings.ContainsAny(address, "\r\n") {
			return nil, fmt.Errorf("alerts.mail: an address holds a line break")
		}
	}
	return &mail{c}, nil
}

type mail struct{ c MailConfig }

func (m *mail) Name() string { return "mail " + m.c.Server }

func (m *mail) Send(ctx context.Context, a Alert) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.c.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	client := smtp.NewClient(conn)
	if m.c.User != "" {
		if client, err = smtp.NewClientStartTLS(conn, nil); err != nil {
			return fmt.Errorf("mail: a password is configured and the server does not encrypt: %w", err)
		}
		if err := client.Auth(sasl.NewPlainClient("", m.c.User, m.c.Password)); err != nil {
			return err
		}
	}
	if err := client.SendMail(m.c.From, m.c.To, strings.NewReader(m.text(a))); err != nil {
		return err
	}
	return client.Quit()
}

func (m *mail) text(a Alert) string {
	oneLine := strings.NewReplacer("\r", " ", "\n", " ")
	return fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: [Chaperone] %s\r\nDate: %s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n\r\n%s\r\nRepeated since the last mail: %d\r\nRecord: %s\r\n",
		m.c.From, strings.Join(m.c.To, ", "), oneLine.Replace(a.Title), a.Time.Format(time.RFC1123Z), oneLine.Replace(a.Title), oneLine.Replace(a.Detail), a.Repeated, a.Record)
}
