package xmpptest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"mellium.im/sasl"
	mstream "mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

// Login says how a client signs in.
type Login struct {
	Address   string // host:port
	JID       string // user@domain/resource
	Password  string
	TLS       *tls.Config // nil for none
	Direct    bool        // TLS from the first byte
	Mechanism string      // SCRAM-SHA-256 (default), SCRAM-SHA-1 or PLAIN
}

// Client is a client on an XMPP library.
type Client struct {
	session *xmpp.Session
	conn    net.Conn
	inbox   chan *Stanza
	done    chan struct{}
	once    sync.Once
}

// Stanza is one that a client received.
type Stanza struct {
	*xmlstream.Node
	XML string
}

// Body returns the body of a message.
func (s *Stanza) Body() string {
	if b := s.Child("jabber:client", "body"); b != nil {
		return b.Text
	}
	return ""
}

// ErrorText returns the words of a stanza error, "" when it is none.
func (s *Stanza) ErrorText() string {
	e := s.Child("jabber:client", "error")
	if e == nil {
		return ""
	}
	if t := e.Child("urn:ietf:params:xml:ns:xmpp-stanzas", "text"); t != nil {
		return t.Text
	}
	return e.Attr("type")
}

const inboxSize = 4096

// Dial signs in and says that it is available.
func Dial(ctx context.Context, l Login) (*Client, error) {
	origin, err := jid.Parse(l.JID)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.Address)
	if err != nil {
		return nil, err
	}
	mechanism := sasl.ScramSha256
	switch l.Mechanism {
	case "SCRAM-SHA-1":
		mechanism = sasl.ScramSha1
	case "PLAIN":
		mechanism = sasl.Plain
	}
	var features []xmpp.StreamFeature
	var rw io.ReadWriter = conn
	switch {
	case l.TLS != nil && l.Direct:
		rw = tls.Client(conn, l.TLS)
	case l.TLS != nil:
		features = append(features, xmpp.StartTLS(l.TLS))
	}
	signIn := xmpp.SASL("", l.Password, mechanism)
	if l.TLS == nil || l.Direct {
		signIn.Necessary = 0
	}
	features = append(features, signIn, xmpp.BindResource())
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	session, err := xmpp.NewClientSession(ctx, origin, rw, features...)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("sign in %s: %w", l.JID, err)
	}
	conn.SetDeadline(time.Time{})
	c := &Client{session: session, conn: conn, inbox: make(chan *Stanza, inboxSize), done: make(chan struct{})}
	go c.serve()
	return c, c.Send(ctx, "<presence/>")
}

func (c *Client) serve() {
	defer close(c.done)
	c.session.Serve(xmpp.HandlerFunc(func(t mstream.TokenReadEncoder, start *xml.StartElement) error {
		var b bytes.Buffer
		e := xml.NewEncoder(&b)
		if err := copyElement(e, t, *start); err != nil {
			return err
		}
		n, err := xmlstream.Parse(b.Bytes(), xmlstream.Scope{{Prefix: "", URI: "jabber:client"}}, xmlstream.Limits{Bytes: 1 << 24, Depth: 1000, Attributes: 1000, Elements: 1 << 20})
		if err != nil {
			return err
		}
		select {
		case c.inbox <- &Stanza{n, b.String()}:
		default: // nobody reads: a test of something else
		}
		return nil
	}))
}

// copyElement writes an element out again; namespaces come from the names, not from the attributes that declared them.
func copyElement(e *xml.Encoder, r xml.TokenReader, start xml.StartElement) error {
	plain := func(s xml.StartElement) xml.StartElement {
		out := xml.StartElement{Name: s.Name}
		for _, a := range s.Attr {
			if a.Name.Local != "xmlns" && a.Name.Space != "xmlns" {
				out.Attr = append(out.Attr, a)
			}
		}
		return out
	}
	if err := e.EncodeToken(plain(start)); err != nil {
		return err
	}
	for depth := 1; depth > 0; {
		t, err := r.Token()
		if t == nil && err != nil {
			if errors.Is(err, io.EOF) && depth == 1 {
				break
			}
			return err
		}
		switch x := t.(type) {
		case xml.StartElement:
			depth++
			t = plain(x)
		case xml.EndElement:
			if depth--; depth == 0 {
				break
			}
		}
		if depth > 0 {
			if err := e.EncodeToken(xml.CopyToken(t)); err != nil {
				return err
			}
		}
	}
	if err := e.EncodeToken(start.End()); err != nil {
		return err
	}
	return e.Flush()
}

// Send sends one stanza, given as XML.
func (c *Client) Send(ctx context.Context, stanza string) error {
	d := xml.NewDecoder(strings.NewReader(stanza))
	return c.session.Send(ctx, tokens{d})
}

// tokens leaves namespace declarations to the encoder: it would write them twice.
type tokens struct{ d *xml.Decoder }

// Token returns the next token.
func (t tokens) Token() (xml.Token, error) {
	tok, err := t.d.Token()
	if s, ok := tok.(xml.StartElement); ok {
		var attrs []xml.Attr
		for _, a := range s.Attr {
			if a.Name.Local != "xmlns" && a.Name.Space != "xmlns" {
				attrs = append(attrs, a)
			}
		}
		s.Attr = attrs
		return s, err
	}
	return tok, err
}

// Say sends a chat message.
func (c *Client) Say(ctx context.Context, to, id, body string) error {
	var b strings.Builder
	xml.EscapeText(&b, []byte(body))
	return c.Send(ctx, fmt.Sprintf("<message to='%s' type='chat' id='%s'><body>%s</body></message>", to, id, b.String()))
}

// Next returns the next stanza for which want is true; others are passed over.
func (c *Client) Next(ctx context.Context, want func(*Stanza) bool) (*Stanza, error) {
	for {
		select {
		case s := <-c.inbox:
			if want(s) {
				return s, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.done:
			return nil, errors.New("the stream has ended")
		}
	}
}

// Message returns the next message with that id.
func (c *Client) Message(ctx context.Context, id string) (*Stanza, error) {
	return c.Next(ctx, func(s *Stanza) bool { return s.Local == "message" && s.Attr("id") == id })
}

// Done is closed when the stream has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// JID returns the address that the server gave.
func (c *Client) JID() string { return c.session.LocalAddr().String() }

// Close signs out.
func (c *Client) Close() {
	c.once.Do(func() {
		c.session.Close()
		c.conn.Close()
		<-c.done
	})
}
