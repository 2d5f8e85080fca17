package alert

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// MailConfig is how mail goes out. Password is the secret itself, already read from its reference.
type MailConfig struct {
	Server   string // host:port; port 465 is TLS from the start
	From     string
	To       []string
	User     string
	Password string
	TLS      *tls.Config // nil: the system's authorities
}

// Mail sends each alert as a mail. A server that offers STARTTLS is spoken to encrypted; a password goes out only so.
func Mail(c MailConfig) (Channel, error) {
	host, port, err := net.SplitHostPort(c.Server)
	if err != nil || c.From == "" || len(c.To) == 0 {
		return nil, errors.New("alerts.mail: server (host:port), from and to must be given")
	}
	for _, address := range append([]string{c.From}, c.To...) {
		if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '<' || r == '>' }) || !strings.Contains(address, "@") {
			return nil, fmt.Errorf("alerts.mail: %q is no address", address)
		}
	}
	if c.TLS == nil {
		c.TLS = &tls.Config{}
	}
	c.TLS = c.TLS.Clone()
	if c.TLS.ServerName == "" {
		c.TLS.ServerName = host
	}
	return &mail{c, port == "465"}, nil
}

type mail struct {
	c      MailConfig
	direct bool
}

func (m *mail) Name() string { return "mail " + m.c.Server }

func (m *mail) Send(ctx context.Context, a Alert) error {
	client, err := m.connect(ctx)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	defer client.Close()
	if m.c.User != "" {
		if _, encrypted := client.TLSConnectionState(); !encrypted {
			return errors.New("mail: a password is configured and the server does not encrypt: it was not sent")
		}
		if err := client.Auth(sasl.NewPlainClient("", m.c.User, m.c.Password)); err != nil {
			return fmt.Errorf("mail: sign in: %w", err)
		}
	}
	if err := client.SendMail(m.c.From, m.c.To, strings.NewReader(m.text(a))); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	client.Quit() // the server has the mail already
	return nil
}

// connect speaks to the server as encrypted as it offers (RFC 3207, RFC 8314).
func (m *mail) connect(ctx context.Context) (*smtp.Client, error) {
	conn, err := m.dial(ctx)
	if err != nil {
		return nil, err
	}
	if m.direct {
		return smtp.NewClient(tls.Client(conn, m.c.TLS)), nil
	}
	client := smtp.NewClient(conn)
	if offered, _ := client.Extension("STARTTLS"); !offered {
		return client, nil
	}
	client.Close()
	if conn, err = m.dial(ctx); err != nil {
		return nil, err
	}
	return smtp.NewClientStartTLS(conn, m.c.TLS)
}

func (m *mail) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.c.Server)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	return conn, nil
}

// text writes the mail (RFC 5322), marked as no answer's business (RFC 3834, section 5).
func (m *mail) text(a Alert) string {
	plain := strings.NewReplacer("\r", " ", "\n", " ")
	_, domain, _ := strings.Cut(m.c.From, "@")
	var b strings.Builder
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", m.c.From)
	header("To", strings.Join(m.c.To, ", "))
	header("Subject", mime.QEncoding.Encode("utf-8", "[Chaperone] "+plain.Replace(a.Title)))
	header("Date", a.Time.Format(time.RFC1123Z))
	header("Message-ID", "<"+rand.Text()+"@"+domain+">")
	header("Auto-Submitted", "auto-generated")
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "8bit")
	fmt.Fprintf(&b, "\r\n%s\r\n\r\n%s\r\n\r\nRepeated since the last mail: %d\r\n", wrap(a.Title), wrap(a.Detail), a.Repeated)
	if a.Record != "" {
		fmt.Fprintf(&b, "Record: %s\r\n", a.Record)
	}
	return b.String()
}

// wrap breaks a text into short lines (RFC 5322, section 2.1.1).
func wrap(text string) string {
	var b strings.Builder
	width := 0
	for _, w := range strings.Fields(text) {
		if width > 0 && width+len(w) > 78 {
			b.WriteString("\r\n")
			width = 0
		} else if width > 0 {
			b.WriteString(" ")
		}
		b.WriteString(w)
		width += len(w) + 1
	}
	return b.String()
}
