package xmpptest

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

// Raw is a client that sends any bytes and shows every element that comes, stream management and errors included.
type Raw struct {
	Conn  net.Conn
	JID   string // after Bind
	inbox chan *Stanza
	err   error
	login Login
}

// DialRaw connects, and signs in with PLAIN when the login has a password. It binds no resource.
func DialRaw(ctx context.Context, l Login) (*Raw, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.Address)
	if err != nil {
		return nil, err
	}
	r := &Raw{Conn: conn, login: l}
	if err := r.signIn(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return r, nil
}

func (r *Raw) signIn(ctx context.Context) error {
	l := r.login
	if l.TLS != nil && !l.Direct {
		r.listen()
		if err := r.ask(ctx, r.Header(), "features"); err != nil {
			return err
		}
		if err := r.ask(ctx, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "proceed"); err != nil {
			return err
		}
	}
	if l.TLS != nil {
		r.Conn = tls.Client(r.Conn, l.TLS)
	}
	r.listen()
	if l.Password == "" {
		return nil
	}
	if err := r.ask(ctx, r.Header(), "features"); err != nil {
		return err
	}
	user, _, _ := strings.Cut(l.JID, "@")
	secret := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + l.Password))
	if err := r.Send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + secret + "</auth>"); err != nil {
		return err
	}
	if _, err := r.Await(ctx, "success"); err != nil {
		return err
	}
	r.listen()
	return r.ask(ctx, r.Header(), "features")
}

// Header returns a stream header for the login's domain.
func (r *Raw) Header() string {
	_, domain, _ := strings.Cut(r.login.JID, "@")
	domain, _, _ = strings.Cut(domain, "/")
	return "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='" + domain + "'>"
}

func (r *Raw) ask(ctx context.Context, send, want string) error {
	if err := r.Send(send); err != nil {
		return err
	}
	_, err := r.Await(ctx, want)
	return err
}

// listen reads elements of a new stream. The reader of the old one has ended with the element after which the stream began anew.
func (r *Raw) listen() {
	inbox := make(chan *Stanza, inboxSize)
	r.inbox = inbox
	limits := xmlstream.Limits{Bytes: 1 << 24, Depth: 1000, Attributes: 1000, Elements: 1 << 20}
	f := xmlstream.NewFramer(r.Conn, limits)
	go func() {
		defer close(inbox)
		var scope xmlstream.Scope
		for {
			frame, err := f.Next()
			if err != nil {
				r.err = err
				return
			}
			switch frame.Kind {
			case xmlstream.Header:
				_, scope, _ = xmlstream.ParseHeader(frame.Raw, limits)
			case xmlstream.Element:
				n, err := xmlstream.Parse(frame.Raw, scope, limits)
				if err != nil {
					r.err = err
					return
				}
				inbox <- &Stanza{n, string(frame.Raw)}
				if n.Local == "success" || n.Local == "proceed" {
					return
				}
			case xmlstream.Close:
				return
			}
		}
	}()
}

// Bind binds a resource.
func (r *Raw) Bind(ctx context.Context, resource string) error {
	if err := r.Send("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + resource + "</resource></bind></iq>"); err != nil {
		return err
	}
	s, err := r.Await(ctx, "iq")
	if err != nil {
		return err
	}
	if b := s.Child("urn:ietf:params:xml:ns:xmpp-bind", "bind"); b != nil && len(b.Children) > 0 {
		r.JID = b.Children[0].Text
		return nil
	}
	return fmt.Errorf("bind: %s", s.XML)
}

// Send sends bytes as they are.
func (r *Raw) Send(raw string) error {
	r.Conn.SetWriteDeadline(time.Now().Add(2 * time.Minute))
	_, err := r.Conn.Write([]byte(raw))
	return err
}

// Await returns the next element of that local name.
func (r *Raw) Await(ctx context.Context, local string) (*Stanza, error) {
	return r.Next(ctx, func(s *Stanza) bool { return s.Local == local })
}

// Next returns the next element for which want is true.
func (r *Raw) Next(ctx context.Context, want func(*Stanza) bool) (*Stanza, error) {
	for {
		select {
		case s, ok := <-r.inbox:
			if !ok {
				return nil, errors.Join(errors.New("the stream has ended"), r.err)
			}
			if want(s) {
				return s, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Close cuts the connection, without ending the stream.
func (r *Raw) Close() { r.Conn.Close() }
