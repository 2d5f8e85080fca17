// Package mail hands mails to a server. One that offers STARTTLS is spoken to encrypted; a password goes out only so.
package mail

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Config is how mail goes out. Password is the secret itself, already read from its reference.
type Config struct {
	Server   string // host:port; port 465 is TLS from the start
	From     string
	To       []string
	User     string
	Password string
	TLS      *tls.Config // nil: the system's authorities
}

// Message is a mail to be sent.
type Message struct {
	Subject     string
	Text        string
	Time        time.Time
	Attachments []Attachment
}

// Attachment is a file in a mail.
type Attachment struct {
	Name string
	Type string // media type
	Data []byte
}

// Sender sends mails.
type Sender struct {
	c      Config
	direct bool
}

// New checks the settings and returns a sender. It connects only to send.
func New(c Config) (*Sender, error) {
	host, port, err := net.SplitHostPort(c.Server)
	if err != nil || c.From == "" || len(c.To) == 0 {
		return nil, errors.New("server (host:port), from and to must be given")
	}
	for _, address := range append([]string{c.From}, c.To...) {
		if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '<' || r == '>' }) || !strings.Contains(address, "@") {
			return nil, fmt.Errorf("%q is no address", address)
		}
	}
	if c.TLS == nil {
		c.TLS = &tls.Config{}
	}
	c.TLS = c.TLS.Clone()
	if c.TLS.ServerName == "" {
		c.TLS.ServerName = host
	}
	return &Sender{c, port == "465"}, nil
}

// Server returns the server's address.
func (s *Sender) Server() string { return s.c.Server }

// Send sends a mail. When it returns nil the server has taken it.
func (s *Sender) Send(ctx context.Context, m Message) error {
	text, err := s.text(m)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	client, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	defer client.Close()
	if s.c.User != "" {
		if _, encrypted := client.TLSConnectionState(); !encrypted {
			return errors.New("mail: a password is configured and the server does not encrypt: it was not sent")
		}
		if err := client.Auth(sasl.NewPlainClient("", s.c.User, s.c.Password)); err != nil {
			return fmt.Errorf("mail: sign in: %w", err)
		}
	}
	if err := client.SendMail(s.c.From, s.c.To, strings.NewReader(text)); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	client.Quit() // the server has the mail already
	return nil
}

// connect speaks to the server as encrypted as it offers (RFC 3207, RFC 8314).
func (s *Sender) connect(ctx context.Context) (*smtp.Client, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	if s.direct {
		return smtp.NewClient(tls.Client(conn, s.c.TLS)), nil
	}
	client := smtp.NewClient(conn)
	if offered, _ := client.Extension("STARTTLS"); !offered {
		return client, nil
	}
	client.Close()
	if conn, err = s.dial(ctx); err != nil {
		return nil, err
	}
	return smtp.NewClientStartTLS(conn, s.c.TLS)
}

func (s *Sender) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.c.Server)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	return conn, nil
}

// messageID names a mail (RFC 5322, section 3.6.4).
func (s *Sender) messageID() string {
	_, domain, _ := strings.Cut(s.c.From, "@")
	return "<" + rand.Text() + "@" + domain + ">"
}
