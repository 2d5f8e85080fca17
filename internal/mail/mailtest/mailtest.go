// Package mailtest is a real mail server for tests, on loopback, which keeps what it gets.
package mailtest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Password is the one that signs in.
const Password = "s3cret"

// Server is a running server.
type Server struct {
	Address string
	Mails   chan Mail
	Signed  chan string // who signed in
}

// Mail is one mail that came.
type Mail struct {
	Encrypted bool
	To        []string
	Text      string
}

// Start starts a server, with TLS when a certificate is given. It ends with the test.
func Start(t testing.TB, config *tls.Config) *Server {
	t.Helper()
	s := &Server{Mails: make(chan Mail, 100), Signed: make(chan string, 100)}
	srv := smtp.NewServer(s)
	srv.Domain, srv.TLSConfig, srv.ReadTimeout = "localhost", config, 2*time.Minute
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Address = l.Addr().String()
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return s
}

// NewSession implements smtp.Backend.
func (s *Server) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, encrypted := c.TLSConnectionState()
	return &session{s: s, encrypted: encrypted}, nil
}

type session struct {
	s         *Server
	encrypted bool
	to        []string
}

func (x *session) Mail(string, *smtp.MailOptions) error { return nil }

func (x *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	}
	x.to = append(x.to, to)
	return nil
}

func (x *session) Reset()                   {}
func (x *session) Logout() error            { return nil }
func (x *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (x *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != Password {
			return errors.New("wrong")
		}
		x.s.Signed <- user
		return nil
	}), nil
}

func (x *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	x.s.Mails <- Mail{x.encrypted, x.to, string(raw)}
	return err
}
