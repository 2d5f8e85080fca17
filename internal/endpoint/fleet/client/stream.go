package client

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// stream is one connection to the server.
type stream struct {
	*Client
	conn  interface{ SetWriteDeadline(time.Time) error }
	write func([]byte) (int, error)
	roots *x509.CertPool

	mu      sync.Mutex // of writing
	acked   chan uint64
	in      map[string]*incoming // by scope
	offered []byte               // note of the release that is being fetched
	heard   bool                 // an answer to a ping: all that the server had for us came before it
	telling sync.Mutex           // of toTell, and of telling in order
	toTell  map[string]protocol.Applied

	after atomic.Int64 // how long the server wants us to stay away
}

// incoming is a bundle whose parts are still on their way.
type incoming struct {
	note     []byte
	manifest protocol.Manifest
	missing  []protocol.Part
	bytes    []byte // of the first that is missing
}

// stream connects, and serves the connection until it ends. It returns how long the server wants us to stay away.
func (c *Client) stream(ctx context.Context) (time.Duration, error) {
	conn, creds, err := c.dial(ctx)
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	unhook := context.AfterFunc(ctx, func() { conn.Close() })
	defer unhook()
	s := &stream{Client: c, conn: conn, write: conn.Write, roots: creds.roots, acked: make(chan uint64, 1), in: map[string]*incoming{}, toTell: map[string]protocol.Applied{}}
	welcome, err := s.greet(conn)
	if err != nil {
		stop()
		return time.Duration(s.after.Load()), errors.Join(err, conn.Close())
	}
	c.Log.Info("connected to the fleet server", "host", c.id.ID)
	if c.Update != nil {
		c.current.Store(s)
		defer c.current.Store(nil)
		c.Update.Welcomed()
	}
	heartbeat := time.Duration(min(max(welcome.Heartbeat, 1), 3600)) * time.Second
	var beside sync.WaitGroup
	beside.Go(func() { s.sendSpool(ctx, stop) })
	beside.Go(func() { s.sendPings(ctx, stop, heartbeat) })
	err = s.send(protocol.PingFrame, nil)
	if err == nil && c.renewalDue(creds.leaf) {
		err = s.renew()
	}
	for err == nil {
		if s.heard && len(s.in) == 0 {
			c.once.Do(func() { close(c.synced) })
		}
		if err = conn.SetReadDeadline(time.Now().Add(3 * heartbeat)); err == nil {
			err = s.receive(ctx, conn)
		}
	}
	stop()
	beside.Wait()
	return time.Duration(s.after.Load()), err
}

// greet says who we are and what we have.
func (s *stream) greet(conn interface {
	Read([]byte) (int, error)
	SetReadDeadline(time.Time) error
}) (protocol.Welcome, error) {
	var w protocol.Welcome
	b := s.keeper.inForce()
	m := s.Machine
	err := s.sendJSON(protocol.HelloFrame, protocol.Hello{Protocol: protocol.Version, Version: m.Version, OS: runtime.GOOS, Arch: runtime.GOARCH, Name: m.Name, Addresses: m.Addresses,
		Mode: m.Mode, Fleet: b.Generation, Host: b.Host, Spool: s.Spool.Name(), Turn: s.turn.Load(), Deltas: true, Update: s.updates()})
	if err != nil {
		return w, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(askTime)); err != nil {
		return w, err
	}
	kind, payload, err := protocol.Read(conn)
	if err != nil {
		return w, word(err)
	}
	if kind == protocol.RefusedFrame {
		return w, s.refused(payload)
	}
	if kind != protocol.WelcomeFrame {
		return w, fmt.Errorf("%w: the first frame is of kind %q", protocol.ErrMalformed, byte(kind))
	}
	if w, err = protocol.Decode[protocol.Welcome](payload); err != nil {
		return w, err
	}
	return w, s.welcomed(w)
}

func (s *stream) refused(payload []byte) error {
	r, err := protocol.Decode[protocol.Refused](payload)
	if err != nil {
		return err
	}
	if r.Stale != 0 {
		return s.beginAgain(r.Stale, r.Reason)
	}
	s.after.Store(int64(time.Duration(min(max(r.After, 0), 3600)) * time.Second))
	return fmt.Errorf("the server hung up: %s", r.Reason)
}

// writeTime bounds one write.
const writeTime = 30 * time.Second

func (s *stream) send(k protocol.Kind, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	for b := protocol.Frame(k, payload); len(b) > 0; {
		// The server keeps a buffer as large as the largest TLS record that came: small ones keep ten thousand agents cheap.
		n, err := s.write(b[:min(len(b), protocol.Small)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (s *stream) sendJSON(k protocol.Kind, v any) error {
	b, err := protocol.Encode(v)
	if err != nil {
		return err
	}
	return s.send(k, b)
}

// sendSpool hands the spool up, one frame at a time: the next goes when the server has the last one on record.
func (s *stream) sendSpool(ctx context.Context, stop func()) {
	defer stop()
	for s.Spool.Wait(ctx) == nil {
		items, err := s.Spool.Next()
		if err != nil || len(items.List) == 0 {
			s.Log.Error("read the spool", "error", err)
			return
		}
		if err := s.send(protocol.ItemsFrame, items.Append(nil)); err != nil {
			return
		}
		select {
		case n := <-s.acked:
			if n < items.First || n > items.Last() {
				s.Log.Error("the server acknowledged what was not sent", "number", n)
				return
			}
			if err := s.Spool.Ack(n); err != nil {
				s.Log.Error("shorten the spool", "error", err)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *stream) sendPings(ctx context.Context, stop func(), every time.Duration) {
	defer stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if s.send(protocol.PingFrame, nil) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// receive takes one frame.
func (s *stream) receive(ctx context.Context, conn interface{ Read([]byte) (int, error) }) error {
	kind, payload, err := protocol.Read(conn)
	if err != nil {
		return err
	}
	switch kind {
	case protocol.PongFrame:
		s.heard = true
		return nil
	case protocol.AckFrame:
		n, err := protocol.ParseAck(payload)
		if err != nil {
			return err
		}
		select {
		case s.acked <- n:
			return nil
		default:
			return fmt.Errorf("%w: two acknowledgements for one frame", protocol.ErrMalformed)
		}
	case protocol.BundleFrame:
		d, err := protocol.ParseDelivery(payload)
		if err != nil {
			return err
		}
		return s.bundle(ctx, d, nil)
	case protocol.DeltaFrame:
		d, err := protocol.ParseDelta(payload)
		if err != nil {
			return err
		}
		return s.bundle(ctx, d.Delivery, d.Patches)
	case protocol.PieceFrame:
		return s.piece(ctx, payload)
	case protocol.RenewedFrame:
		if err := saveCertificate(s.Dir, s.key, s.roots, payload, s.Now()); err != nil {
			return err
		}
		s.Log.Info("the certificate was renewed")
		return nil
	case protocol.RefusedFrame:
		return s.refused(payload)
	case protocol.OfferFrame:
		return s.offer(ctx, payload)
	}
	return fmt.Errorf("%w: a frame of kind %q from the server", protocol.ErrMalformed, byte(kind))
}

// bundle begins with a bundle that was pushed. A patch that makes nothing of what is here costs nothing: the part is asked for whole.
func (s *stream) bundle(ctx context.Context, d protocol.Delivery, patches []protocol.Patch) error {
	m, known, err := s.keeper.check(d.Note)
	if err != nil {
		s.Log.Error("a bundle was refused", "error", err)
		return err // hang up: no honest server sends it
	}
	if known {
		return s.applied(m, nil)
	}
	for _, p := range d.Parts {
		if err := s.keeper.put(m, p); err != nil {
			return err
		}
	}
	for _, p := range patches {
		if err := s.keeper.patch(m, p); err != nil {
			s.Log.Warn("a patch of the policy was of no use; the whole is asked for", "error", err)
		}
	}
	s.in[m.Scope] = &incoming{note: bytes.Clone(d.Note), manifest: m, missing: s.keeper.missing(m)}
	return s.next(ctx, s.in[m.Scope])
}

// next asks for what is missing of a bundle, or brings it into force.
func (s *stream) next(ctx context.Context, in *incoming) error {
	if len(in.missing) == 0 { // a bundle of the other scope, which came into force meanwhile, may have swept away what this one alone names
		in.missing = s.keeper.missing(in.manifest)
	}
	if len(in.missing) > 0 {
		return s.send(protocol.GetFrame, in.want().Encode())
	}
	delete(s.in, in.manifest.Scope)
	err := s.keeper.take(ctx, in.note, in.manifest)
	if err != nil {
		s.Log.Error("a bundle could not be brought into force; the one before stays", "generation", in.manifest.Generation, "error", err)
	} else {
		s.Log.Info("policy of the fleet in force", "scope", in.manifest.Scope, "generation", in.manifest.Generation)
		select {
		case s.updated <- struct{}{}:
		default:
		}
	}
	return s.applied(in.manifest, err)
}

// want is the piece that an incoming bundle waits for.
func (in *incoming) want() protocol.Get {
	g := protocol.Get{Offset: uint64(len(in.bytes))}
	hex.Decode(g.SHA256[:], []byte(in.missing[0].SHA256)) // the manifest's form was checked
	return g
}

func (s *stream) piece(ctx context.Context, payload []byte) error {
	p, err := protocol.ParsePiece(payload)
	if err != nil {
		return err
	}
	for _, in := range s.in {
		if len(in.missing) == 0 || in.want() != p.Get {
			continue
		}
		part := in.missing[0]
		if len(p.Bytes) == 0 || len(in.bytes)+len(p.Bytes) > part.Size {
			return fmt.Errorf("%w: part %s has another length", protocol.ErrMalformed, part.Name)
		}
		in.bytes = append(in.bytes, p.Bytes...)
		if len(in.bytes) == part.Size {
			if err := s.keeper.put(in.manifest, in.bytes); err != nil {
				return err
			}
			in.missing, in.bytes = in.missing[1:], nil
		}
		return s.next(ctx, in)
	}
	return s.pieceOfRelease(ctx, p) // or of a bundle that another has replaced
}

// appliedWithin is the longest pause before an agent says what became of a bundle: ten thousand answers do not come at once, and nobody waits
// for them.
const appliedWithin = 500 * time.Millisecond

// applied says what became of a bundle.
func (s *stream) applied(m protocol.Manifest, err error) error {
	a := protocol.Applied{Scope: m.Scope, Generation: m.Generation}
	if err != nil {
		a.Error = err.Error()
		a.Error = a.Error[:min(len(a.Error), 1000)]
	}
	if s.Briefly {
		return s.sendJSON(protocol.AppliedFrame, a)
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	if _, waits := s.toTell[a.Scope]; !waits {
		time.AfterFunc(rand.N(appliedWithin), func() { s.tell(a.Scope) })
	}
	s.toTell[a.Scope] = a
	return nil
}

// tell says what became of the last bundle of a scope: the last, since the server takes what is said last for what is so.
func (s *stream) tell(scope string) {
	s.telling.Lock()
	defer s.telling.Unlock()
	a := s.toTell[scope]
	delete(s.toTell, scope)
	if err := s.sendJSON(protocol.AppliedFrame, a); err != nil {
		s.Log.Debug("say what became of a bundle", "error", err) // the server is told at the next connection
	}
}

// renewalDue reports whether a third of the certificate's life is left, or less.
func (c *Client) renewalDue(leaf *x509.Certificate) bool {
	return leaf.NotAfter.Sub(c.Now()) < leaf.NotAfter.Sub(leaf.NotBefore)/3
}

func (s *stream) renew() error {
	der, err := protocol.NewRequest(s.key)
	if err != nil {
		return err
	}
	return s.send(protocol.RenewFrame, der)
}
