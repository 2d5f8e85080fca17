package fleet

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/server/fleet/rate"
)

// What a session may have to write.
const (
	fleetFlag uint32 = 1 << iota
	hostFlag
	busyFlag // a goroutine is at it
)

// Bounds on one agent.
const (
	frameBurst, frameRate = 200, 20            // frames, and per second
	byteBurst, byteRate   = 2 << 20, 256 << 10 // the same of bytes
	payloadTime           = 20 * time.Second
	writeTime             = 20 * time.Second
	recordTime            = 30 * time.Second
	longestPause          = 30 * time.Second
)

// session is one agent's stream.
type session struct {
	s     *Server
	host  string
	conn  *tls.Conn
	flags atomic.Uint32 // what is to be written; while it is not 0 a goroutine writes

	mu        sync.Mutex // of writing, and of what follows
	sentFleet uint64     // generation
	sentHost  uint64
	overlay   []byte // the part that the agent may ask for
	digest    string // of the overlay that the agent has, or is being sent

	frames, bytes rate.Bucket // used by the reader alone
	spool         string
	turn          uint64 // given with the welcome, until the agent has shown that it kept it
	deltas        bool   // the agent takes patches

	offered   string // id of the release that was offered last on this connection
	offeredAt time.Time
}

// belongs reports whether the machine with a certificate of ours belongs to the fleet.
func (s *Server) belongs(leaf *x509.Certificate) error {
	h, ok := s.roster.get(leaf.Subject.CommonName)
	if !ok || h.State != Approved || protocol.Fingerprint(leaf.RawSubjectPublicKeyInfo) != h.Fingerprint {
		return ErrUnknownHost
	}
	return nil
}

// greet admits an agent that the handshake has proven to hold a certificate of ours.
func (s *Server) greet(ctx context.Context, conn *tls.Conn, from string) (*session, error) {
	leaf := conn.ConnectionState().PeerCertificates[0]
	ss := &session{s: s, host: leaf.Subject.CommonName, conn: conn}
	if s.belongs(leaf) != nil { // it did when they shook hands
		ss.refuse("this machine does not belong to the fleet (any more)", 3600)
		return nil, ErrUnknownHost
	}
	h, _ := s.roster.get(ss.host)
	kind, payload, err := protocol.Read(conn)
	if err != nil {
		return nil, err
	}
	if kind != protocol.HelloFrame {
		return nil, fmt.Errorf("%w: the first frame is of kind %q", protocol.ErrMalformed, byte(kind))
	}
	hello, err := protocol.Decode[protocol.Hello](payload)
	if err != nil {
		ss.refuse("another version of the protocol: see which versions of agent and server go together", 600)
		return nil, err
	}
	if hello.Host > 1<<61 || hello.Fleet > 1<<61 {
		return nil, fmt.Errorf("%w: generation", protocol.ErrMalformed)
	}
	now := s.deps.Clock.Now()
	if isCopy(h.Seen, hello) {
		return nil, ss.refuseCopy(ctx, h, now)
	}
	ss.frames, ss.bytes = rate.NewBucket(frameBurst, frameRate, now), rate.NewBucket(byteBurst, byteRate, now)
	ss.sentFleet, ss.sentHost, ss.spool = hello.Fleet, hello.Host, hello.Spool
	ss.deltas = hello.Deltas
	if hello.Host == h.Seen.Host {
		ss.digest = h.Seen.Overlay
	}
	acked := uint64(0)
	if hello.Spool == h.Seen.Spool {
		acked = h.Seen.Acked
	}
	// The name stays that which was approved: whose machine it is, and what is held, goes by it.
	if len(h.Certificate) > 0 || h.Version != hello.Version || h.From != from {
		h.Certificate, h.Version, h.From, h.Addresses = nil, hello.Version, from, hello.Addresses
		if err := s.roster.put(h); err != nil {
			return nil, err
		}
	}
	s.roster.see(h.ID, func(h *Host) {
		h.Seen.At, h.Seen.Mode, h.Seen.Fleet, h.Seen.Host, h.Seen.Trouble = now, hello.Mode, hello.Fleet, hello.Host, ""
		h.Seen.Spool, h.Seen.Acked, h.Seen.Online, h.Seen.Update = hello.Spool, acked, true, hello.Update
		ss.turn = h.Seen.turnFor(hello, now)
	})
	ss.mu.Lock()
	err = ss.send(protocol.WelcomeFrame, protocol.Welcome{Now: now, Heartbeat: int(s.cfg.Heartbeat.Seconds()), Acked: acked, Turn: ss.turn})
	ss.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s.enter(ctx, ss)
	return ss, nil
}

// enter makes a session the one of its host. The one before, if its end was not seen yet, ends.
func (s *Server) enter(ctx context.Context, ss *session) {
	s.mu.Lock()
	before := s.sessions[ss.host]
	s.sessions[ss.host] = ss
	s.mu.Unlock()
	if before != nil {
		before.conn.NetConn().Close()
	}
	if ctx.Err() != nil {
		ss.conn.NetConn().Close()
	}
	// The first write is done here and not beside: whoever gets an answer to a ping knows that all there was has come before it.
	if ss.flags.Or(fleetFlag|hostFlag) == 0 {
		ss.flush()
	}
}

func (s *Server) session(host string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[host]
}

// hangUp ends all sessions.
func (s *Server) hangUp() {
	for _, ss := range s.all() {
		ss.conn.NetConn().Close()
	}
}

// pokeAll has every agent be written what it does not have.
func (s *Server) pokeAll(flag uint32) {
	for _, ss := range s.all() {
		ss.poke(flag)
	}
}

// all returns the sessions there are.
func (s *Server) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*session, 0, len(s.sessions))
	for _, ss := range s.sessions {
		list = append(list, ss)
	}
	return list
}

// round goes through all sessions, a share at a time: what holds for each host alone is looked up for some of them at each tick, so that a
// policy that is pushed never waits behind the look at all of them.
type round struct {
	left  []*session
	share int
}

// roundTicks is in how many ticks a round is through; roundLeast is taken at each tick at least.
const (
	roundTicks = 100
	roundLeast = 16
)

func newRound(list []*session) round {
	return round{list, max(roundLeast, len(list)/roundTicks)}
}

func (r *round) step(flag uint32) {
	n := min(r.share, len(r.left))
	for _, ss := range r.left[:n] {
		ss.poke(flag)
	}
	r.left = r.left[n:]
}

// poke has a goroutine write what the agent does not have, unless one is at it.
func (ss *session) poke(flag uint32) {
	if ss.flags.Or(flag) == 0 {
		ss.s.serving.Go(ss.flush)
	}
}

// flush writes until nothing is left to be written. What is to be written is taken before it is looked up, so that a change while it is
// written is written too.
func (ss *session) flush() {
	for {
		flags := ss.flags.Swap(busyFlag) &^ busyFlag
		if flags == 0 {
			if ss.flags.CompareAndSwap(busyFlag, 0) {
				return
			}
			continue
		}
		if err := ss.push(flags); err != nil {
			ss.s.deps.Log.Debug("fleet: push", "host", ss.host, "error", err)
			ss.conn.NetConn().Close() // the flag stays: nothing more is written
			return
		}
	}
}

func (ss *session) push(flags uint32) error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if r := ss.s.release.Load(); flags&fleetFlag != 0 && r.manifest.Generation != ss.sentFleet {
		if err := ss.write(r.frame(ss.sentFleet, ss.deltas)); err != nil {
			return err
		}
		ss.sentFleet = r.manifest.Generation
	}
	if flags&hostFlag == 0 {
		return nil
	}
	if err := ss.pushOverlay(); err != nil {
		return err
	}
	return ss.pushOffer()
}

// pushOverlay sends what holds for this host alone, when it is another than what the agent has.
func (ss *session) pushOverlay() error {
	overlay, err := ss.s.overlay(ss.host)
	if err != nil {
		return err
	}
	part := protocol.PartOf(protocol.OverlayPart, overlay)
	if part.SHA256 == ss.digest {
		return nil
	}
	now := ss.s.deps.Clock.Now()
	m := protocol.Manifest{Fleet: ss.s.auth.Name(), Scope: protocol.HostScope(ss.host), Generation: nextGeneration(ss.sentHost, now), Created: now, Parts: []protocol.Part{part}}
	signed, err := ss.s.auth.Sign(m)
	if err != nil {
		return err
	}
	if err := ss.write(frameOf(signed, m, map[[sha256.Size]byte][]byte{sha256.Sum256(overlay): overlay}, nil)); err != nil {
		return err
	}
	ss.sentHost, ss.digest, ss.overlay = m.Generation, part.SHA256, nil
	if part.Size > protocol.MaxInline {
		ss.overlay = overlay
	}
	return nil
}

// write writes a frame. ss.mu is held.
func (ss *session) write(frame []byte) error {
	if err := ss.conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	_, err := ss.conn.Write(frame)
	return err
}

// send writes a frame in JSON. ss.mu is held.
func (ss *session) send(k protocol.Kind, v any) error {
	b, err := protocol.Encode(v)
	if err != nil {
		return err
	}
	return ss.write(protocol.Frame(k, b))
}

// reply writes a frame between others.
func (ss *session) reply(k protocol.Kind, payload []byte) error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.write(protocol.Frame(k, payload))
}

// refuse says why, and hangs up. Whoever writes just now is not waited for.
func (ss *session) refuse(reason string, after int) {
	ss.refuseWith(protocol.Refused{Reason: reason, After: after})
}

func (ss *session) refuseWith(r protocol.Refused) {
	if ss.mu.TryLock() {
		ss.send(protocol.RefusedFrame, r) // the connection ends either way
		ss.mu.Unlock()
	}
	ss.conn.Close()
}

// read takes frames until the stream ends.
func (ss *session) read(ctx context.Context) {
	err := ss.readAll(ctx)
	s := ss.s
	s.mu.Lock()
	last := s.sessions[ss.host] == ss
	if last {
		delete(s.sessions, ss.host)
	}
	s.mu.Unlock()
	if last {
		s.roster.see(ss.host, func(h *Host) { h.Seen.At, h.Seen.Online = s.deps.Clock.Now(), false })
	}
	switch {
	case ctx.Err() != nil, errors.Is(err, io.EOF):
	case errors.Is(err, protocol.ErrMalformed):
		s.deps.Log.Warn("fleet: an agent said what the protocol does not allow", "host", ss.host, "error", err)
	default:
		s.deps.Log.Debug("fleet: stream ended", "host", ss.host, "error", err)
	}
	ss.conn.NetConn().Close()
}

func (ss *session) readAll(ctx context.Context) error {
	for {
		if err := ss.conn.SetReadDeadline(time.Now().Add(5 * ss.s.cfg.Heartbeat / 2)); err != nil {
			return err
		}
		kind, n, err := protocol.Header(ss.conn)
		if err != nil {
			return err
		}
		now := ss.s.deps.Clock.Now()
		// An agent that says more than it may is not read for a while: TCP makes it wait.
		if wait := max(ss.frames.Take(1, now), ss.bytes.Take(float64(n), now)); wait > 0 {
			clock.Pause(ctx, min(wait, longestPause))
		}
		if err := ss.frame(ctx, kind, n); err != nil {
			return err
		}
	}
}

// frame reads the payload of a frame and does what it asks for. A large one waits for its share of the memory that all have together.
func (ss *session) frame(ctx context.Context, kind protocol.Kind, n int) error {
	if n > protocol.Small {
		select {
		case ss.s.large <- struct{}{}:
			defer func() { <-ss.s.large }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := ss.conn.SetReadDeadline(time.Now().Add(payloadTime)); err != nil {
		return err
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(ss.conn, payload); err != nil {
		return err
	}
	return ss.handle(ctx, kind, payload)
}

func (ss *session) handle(ctx context.Context, kind protocol.Kind, payload []byte) error {
	ss.kept()
	switch kind {
	case protocol.PingFrame:
		ss.s.roster.see(ss.host, func(h *Host) { h.Seen.At = ss.s.deps.Clock.Now() })
		return ss.reply(protocol.PongFrame, nil)
	case protocol.AppliedFrame:
		a, err := protocol.Decode[protocol.Applied](payload)
		switch {
		case err != nil:
			return err
		case a.Update != nil:
			ss.told(a.Update)
		default:
			ss.applied(a)
		}
		return nil
	case protocol.GetFrame:
		return ss.piece(payload)
	case protocol.ItemsFrame:
		return ss.items(ctx, payload)
	case protocol.RenewFrame:
		cert, err := ss.s.renew(ss.host, payload)
		if err != nil {
			return err
		}
		return ss.reply(protocol.RenewedFrame, cert)
	}
	return fmt.Errorf("%w: a frame of kind %q from an agent", protocol.ErrMalformed, byte(kind))
}

// applied notes what is in force on a host.
func (ss *session) applied(a protocol.Applied) {
	ss.mu.Lock()
	digest, sent := ss.digest, ss.sentHost
	if a.Scope != protocol.AllHosts && a.Generation == sent {
		ss.overlay = nil
	}
	ss.mu.Unlock()
	ss.s.roster.see(ss.host, func(h *Host) {
		h.Seen.At, h.Seen.Trouble = ss.s.deps.Clock.Now(), a.Error
		switch {
		case a.Error != "":
		case a.Scope == protocol.AllHosts:
			h.Seen.Fleet = a.Generation
		case a.Generation == sent:
			h.Seen.Host, h.Seen.Overlay = a.Generation, digest
		}
	})
	if a.Error != "" {
		ss.s.deps.Log.Warn("fleet: a host cannot bring its policy into force", "host", ss.host, "generation", a.Generation, "error", a.Error)
	}
}

// piece sends a piece of a part.
func (ss *session) piece(payload []byte) error {
	g, err := protocol.ParseGet(payload)
	if err != nil {
		return err
	}
	part := ss.s.release.Load().parts[g.SHA256]
	if part == nil {
		ss.mu.Lock()
		if sha256.Sum256(ss.overlay) == g.SHA256 {
			part = ss.overlay
		}
		ss.mu.Unlock()
	}
	p := protocol.Piece{Get: g}
	if b, ok := ss.s.releases.Piece(g); ok {
		p.Bytes = b
	}
	if g.Offset < uint64(len(part)) {
		p.Bytes = part[g.Offset:min(uint64(len(part)), g.Offset+protocol.MaxPiece)]
	}
	return ss.reply(protocol.PieceFrame, p.Encode())
}

// items makes what an agent spooled durable here, and acknowledges it then.
func (ss *session) items(ctx context.Context, payload []byte) error {
	items, err := protocol.ParseItems(payload)
	if err != nil {
		return err
	}
	select {
	case ss.s.turns <- struct{}{}:
		defer func() { <-ss.s.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	if err := ss.s.take(ctx, ss.host, ss.spool, items); err != nil {
		ss.s.deps.Log.Error("fleet: what a host reported could not be recorded; it keeps it", "host", ss.host, "error", err)
		ss.refuse("what you report cannot be recorded now", 60)
		return err
	}
	return ss.reply(protocol.AckFrame, protocol.AckNumber(items.Last()))
}
