package xmpp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

// leg is one connection of a session.
type leg struct {
	conn    net.Conn
	framer  *xmlstream.Framer
	scope   xmlstream.Scope
	timeout time.Duration
	mu      sync.Mutex // of writing
}

// write sends b within the deadline. A peer that does not take it ends the session.
func (l *leg) write(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writeLocked(b)
}

func (l *leg) writeLocked(b []byte) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.timeout)); err != nil {
		return err
	}
	_, err := l.conn.Write(b)
	return err
}

// session is one client connection.
type session struct {
	g       *Gateway
	index   int // of the listener
	address string
	client  leg
	server  leg
	account atomic.Pointer[account]
	signed  atomic.Bool // authenticated by the server
	inRoot  bool        // a stream header was sent to the client
	fault   atomic.Pointer[streamError]

	slots   map[string]*slotRequest // upload slots asked for, by iq id
	slotsMu sync.Mutex
	stopped atomic.Bool
	resume  *account // asked to be resumed
	smID    string
	done    chan struct{} // closed when both directions have ended
}

// streamError ends a session with words for the peer.
type streamError struct {
	condition string
	text      string
}

func (e *streamError) Error() string { return "stream error " + e.condition + ": " + e.text }

func ended(condition, text string) error { return &streamError{condition, text} }

// errClosed says that a peer closed its stream in order.
var errClosed = errors.New("stream closed")

func newSession(g *Gateway, conn net.Conn, index int, address string) *session {
	s := &session{g: g, index: index, address: address, slots: map[string]*slotRequest{}, done: make(chan struct{})}
	s.client.conn, s.client.timeout = conn, g.times.Write
	s.server.timeout = g.times.Write
	a := newAccount()
	a.session = s
	s.account.Store(a)
	return s
}

// run serves the session until one side ends it.
func (s *session) run(ctx context.Context) {
	defer close(s.done)
	defer s.client.conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := s.negotiate(ctx)
	if err == nil {
		err = s.relay(ctx)
	}
	if ctx.Err() != nil && err != nil && !errors.Is(err, errClosed) {
		err = ended("system-shutdown", "the gateway is shutting down")
	}
	s.sayGoodbye(err)
	s.retire(context.WithoutCancel(ctx), errors.Is(err, errClosed))
	if err != nil && !errors.Is(err, errClosed) {
		s.g.log.Debug("session ended", "address", s.address, "error", err)
	}
}

// sayGoodbye sends the client the stream error, when there is one to send.
func (s *session) sayGoodbye(err error) {
	var mine *streamError
	var theirs *xmlstream.Error
	switch {
	case errors.As(err, &mine):
	case errors.As(err, &theirs):
		mine = &streamError{theirs.Condition, theirs.Detail}
	default:
		return
	}
	var out []byte
	if !s.inRoot {
		out = s.header(out)
	}
	out = append(out, "<stream:error><"...)
	out = append(out, mine.condition...)
	out = append(out, " xmlns='"+nsStreams+"'/><text xmlns='"+nsStreams+"' xml:lang='en'>"...)
	out = append(xmlstream.Escape(out, mine.text), "</text></stream:error></stream:stream>"...)
	s.client.write(out)
}

func (s *session) header(out []byte) []byte {
	out = append(out, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='"...)
	out = append(out, event.RandomID()...)
	out = append(out, "' from='"...)
	out = xmlstream.Escape(out, s.g.cfg.Domain)
	s.inRoot = true
	return append(out, "' version='1.0' xml:lang='en'>"...)
}

// retire gives up the account, or leaves it to be resumed.
func (s *session) retire(ctx context.Context, orderly bool) {
	a := s.account.Load()
	a.mu.Lock()
	if a.session != s {
		a.mu.Unlock()
		return // another session has resumed it
	}
	a.session, a.left = nil, s.g.clock.Now()
	if orderly {
		a.left = time.Time{}
	}
	a.mu.Unlock()
	if orderly || s.smID == "" {
		s.g.leaveAll(ctx, a)
	}
}

// negotiate brings the client's leg to the point where its stream can be passed to the server: TLS and a header for our domain.
func (s *session) negotiate(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.client.conn.SetDeadline(time.Now()) })
	defer stop()
	s.keepAlive(s.client.conn)
	s.client.conn.SetDeadline(time.Now().Add(s.g.times.Negotiate))
	config := s.g.serverTLS[s.index]
	if s.g.cfg.Listen[s.index].TLS == StartTLS {
		if err := s.startTLS(); err != nil {
			return err
		}
	}
	if config != nil {
		conn := tls.Server(s.client.conn, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			s.client.conn.Close()
			return fmt.Errorf("client handshake: %w", err)
		}
		s.client.conn = conn
	}
	s.client.framer = xmlstream.NewFramer(s.client.conn, s.g.limits.client)
	return nil
}

func (s *session) keepAlive(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 20 * time.Second, Count: 3})
	}
}

// startTLS answers the client's first stream with the one feature that is left (RFC 6120, section 5.4).
func (s *session) startTLS() error {
	f := xmlstream.NewFramer(s.client.conn, s.g.limits.client)
	if err := s.firstHeader(f); err != nil {
		return err
	}
	out := s.header(nil)
	out = append(out, "<stream:features><starttls xmlns='"+nsTLS+"'><required/></starttls></stream:features>"...)
	if err := s.client.write(out); err != nil {
		return err
	}
	frame, err := nextSolid(f)
	if err != nil {
		return err
	}
	n, err := xmlstream.Parse(frame.Raw, s.client.scope, s.g.limits.client)
	if err != nil {
		return err
	}
	if n.Space != nsTLS || n.Local != "starttls" {
		return ended("policy-violation", "this server asks for TLS first")
	}
	if f.Buffered() > 0 { // what was sent in the clear must not count as protected
		return ended("policy-violation", "nothing may follow starttls before TLS")
	}
	if err := s.client.write([]byte("<proceed xmlns='" + nsTLS + "'/>")); err != nil {
		return err
	}
	s.inRoot = false
	return nil
}

// nextSolid returns the next frame that is not white space.
func nextSolid(f *xmlstream.Framer) (xmlstream.Frame, error) {
	for {
		frame, err := f.Next()
		if err != nil {
			return frame, err
		}
		switch frame.Kind {
		case xmlstream.Space:
		case xmlstream.Close:
			return frame, errClosed
		default:
			return frame, nil
		}
	}
}

// firstHeader reads the client's stream header and checks where it wants to go.
func (s *session) firstHeader(f *xmlstream.Framer) error {
	frame, err := nextSolid(f)
	if err != nil {
		return err
	}
	return s.checkHeader(frame.Raw)
}

func (s *session) checkHeader(raw []byte) error {
	n, scope, err := xmlstream.ParseHeader(raw, s.g.limits.client)
	switch {
	case err != nil:
		return err
	case n.Space != nsStream || n.Local != "stream":
		return ended("invalid-namespace", "this is no XMPP stream")
	case !headerNamespace(scope):
		return ended("invalid-namespace", "only client streams are served here")
	case bareJID(n.Attr("to")) != bareJID(s.g.cfg.Domain):
		return ended("host-unknown", "this gateway serves "+s.g.cfg.Domain)
	}
	s.client.scope = scope
	return nil
}

func headerNamespace(scope xmlstream.Scope) bool {
	for _, b := range scope {
		if b.Prefix == "" {
			return b.URI == nsClient
		}
	}
	return false
}

// relay connects to the server and passes stanzas both ways.
func (s *session) relay(ctx context.Context) error {
	frame, err := nextSolid(s.client.framer)
	if err != nil {
		return err
	}
	if err := s.checkHeader(frame.Raw); err != nil {
		return err
	}
	header := bytes.Clone(frame.Raw)
	if err := s.connect(ctx); err != nil {
		s.g.log.Warn("server not reachable", "error", err)
		s.g.setHealth(health.Failed, "the XMPP server does not answer: "+err.Error(), "start the server behind the gateway, or correct upstream in the configuration")
		return ended("remote-connection-failed", "the server behind this gateway does not answer; please try again later")
	}
	s.g.setHealth(health.OK, "", "")
	defer s.server.conn.Close()
	s.client.conn.SetDeadline(time.Time{})
	if err := s.server.write(header); err != nil {
		return ended("remote-connection-failed", "the server behind this gateway went away")
	}
	return s.pump(ctx)
}

// pump runs both directions until the first of them ends, ends the other, and returns why.
func (s *session) pump(ctx context.Context) error {
	s.client.framer.Before = s.deadlines(s.client.conn)
	s.server.framer.Before = s.deadlines(s.server.conn)
	stop := context.AfterFunc(ctx, s.interrupt)
	defer stop()
	results := make(chan error, 2)
	go func() { results <- s.fromServer(ctx) }()
	go func() { results <- s.fromClient(ctx) }()
	err := <-results
	if errors.Is(err, errClosed) {
		// the other side may still answer the close
		timer := time.AfterFunc(s.g.times.Drain, s.interrupt)
		defer timer.Stop()
	} else {
		s.interrupt()
	}
	<-results
	if fault := s.fault.Load(); fault != nil {
		return fault
	}
	return err
}

// past is a deadline that has passed.
func past() time.Time { return time.Unix(1, 0) }

// interrupt makes both directions stop reading and writing.
func (s *session) interrupt() {
	s.stopped.Store(true) // before the deadlines: see there
	past := past()
	s.server.conn.SetDeadline(past)
	s.client.conn.SetReadDeadline(past)
}

// takeOver ends the session because another one resumes its account, and waits for that.
func (s *session) takeOver() bool {
	s.fault.Store(&streamError{"conflict", "resumed by another connection"})
	s.interrupt()
	select {
	case <-s.done:
		return true
	case <-time.After(s.g.times.Drain):
		return false
	}
}

// deadlines gives a stanza that has begun a time to end, and a client a time to sign in.
func (s *session) deadlines(conn net.Conn) func(bool) {
	begun := time.Now()
	var since time.Time
	return func(partial bool) {
		var deadline time.Time
		switch {
		case partial && since.IsZero():
			since = time.Now()
			deadline = since.Add(s.g.times.Stanza)
		case partial:
			deadline = since.Add(s.g.times.Stanza)
		default:
			since = time.Time{}
		}
		if full, _ := s.account.Load().jid(); full == "" {
			limit := begun.Add(s.g.times.Negotiate)
			if deadline.IsZero() || limit.Before(deadline) {
				deadline = limit
			}
		}
		conn.SetReadDeadline(deadline)
		if s.stopped.Load() { // meanwhile: do not undo what interrupt did
			conn.SetReadDeadline(past())
		}
	}
}

// connect opens the server's leg up to TLS.
func (s *session) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.g.times.Dial)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.g.cfg.Upstream.Address)
	if err != nil {
		return err
	}
	s.keepAlive(conn)
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	s.server.conn = conn
	if s.g.cfg.Upstream.TLS == StartTLS {
		err = s.upgrade()
	}
	if err == nil && s.g.cfg.Upstream.TLS != Off {
		secure := tls.Client(conn, s.g.clientTLS)
		err = secure.HandshakeContext(ctx)
		s.server.conn = secure
	}
	if err != nil {
		conn.Close()
		return err
	}
	s.server.conn.SetDeadline(time.Time{})
	s.server.framer = xmlstream.NewFramer(s.server.conn, s.g.limits.server)
	return nil
}

// upgrade asks the server for TLS.
func (s *session) upgrade() error {
	open := append([]byte("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='"+nsStream+"' version='1.0' to='"), xmlstream.Escape(nil, s.g.cfg.Domain)...)
	if err := s.server.write(append(open, "'>"...)); err != nil {
		return err
	}
	f := xmlstream.NewFramer(s.server.conn, s.g.limits.server)
	frame, err := nextSolid(f)
	if err != nil {
		return err
	}
	_, scope, err := xmlstream.ParseHeader(frame.Raw, s.g.limits.server)
	if err != nil {
		return err
	}
	features, err := s.serverElement(f, scope)
	if err != nil {
		return err
	}
	if features.Child(nsTLS, "starttls") == nil {
		return errors.New("the server does not offer starttls")
	}
	if err := s.server.write([]byte("<starttls xmlns='" + nsTLS + "'/>")); err != nil {
		return err
	}
	proceed, err := s.serverElement(f, scope)
	if err != nil {
		return err
	}
	if proceed.Local != "proceed" || f.Buffered() > 0 {
		return errors.New("the server refused starttls")
	}
	return nil
}

func (s *session) serverElement(f *xmlstream.Framer, scope xmlstream.Scope) (*xmlstream.Node, error) {
	frame, err := nextSolid(f)
	if err != nil {
		return nil, err
	}
	return xmlstream.Parse(frame.Raw, scope, s.g.limits.server)
}

// gone turns the end of the server's leg into words for the client.
func gone(err error) error {
	var mine *streamError
	if errors.As(err, &mine) || errors.Is(err, errClosed) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return ended("remote-connection-failed", "the server behind this gateway went away; please sign in again later")
}
