package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
)

// fleet is the simulated machines, and what they saw.
type fleet struct {
	server string
	code   protocol.Code
	agents []*agent

	verifier note.Verifier
	opened   sync.Map // manifests that were verified: one machine stands for ten thousand, each of which verifies its own copy
	parts    sync.Map // by digest: the same of what patches make

	mu      sync.Mutex
	arrived map[uint64][]time.Time // by generation of what holds for all
	online  atomic.Int64
	acked   atomic.Int64
	applied atomic.Int64
	pongs   atomic.Int64
	bytes   atomic.Int64 // of frames that bring what holds for all
}

// agent is one simulated machine. It keeps no state on disk; all else is what an agent does.
type agent struct {
	f      *fleet
	n      int
	key    *ecdsa.PrivateKey
	cert   tls.Certificate
	roots  *x509.CertPool
	conn   *tls.Conn
	write  sync.Mutex
	fleet  uint64
	host   uint64
	closed chan struct{}

	has     string // digest of the large part that it has
	waits   protocol.Manifest
	missing protocol.Part
	have    []byte // of what is missing
}

func newFleet(server string, code protocol.Code, n int) (*fleet, error) {
	f := &fleet{server: server, code: code, arrived: map[uint64][]time.Time{}}
	for i := range n {
		key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
		if err != nil {
			return nil, err
		}
		f.agents = append(f.agents, &agent{f: f, n: i, key: key})
	}
	return f, nil
}

// each calls do for every agent, some at a time, and returns the first error.
func (f *fleet) each(ctx context.Context, atOnce int, do func(ctx context.Context, a *agent) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, a := range f.agents {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			defer func() { <-places }()
			if err := do(ctx, a); err != nil {
				stop(fmt.Errorf("agent %d: %w", a.n, err))
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// dial connects from one of many addresses of loopback, so that ports do not run out.
func (a *agent) dial(ctx context.Context, c *tls.Config) (*tls.Conn, error) {
	from := net.IPv4(127, 1, byte(a.n/200), byte(a.n%200+1))
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: from}}, Config: c}
	conn, err := d.DialContext(ctx, "tcp", a.f.server)
	if err != nil {
		return nil, err
	}
	return conn.(*tls.Conn), nil
}

// enrol asks once; it reports whether it is approved.
func (a *agent) enrol(ctx context.Context) (bool, error) {
	request, err := protocol.NewRequest(a.key)
	if err != nil {
		return false, err
	}
	conn, err := a.dial(ctx, &tls.Config{MinVersion: tls.VersionTLS13, ServerName: protocol.ServerName, NextProtos: []string{protocol.Enrolling}, InsecureSkipVerify: true})
	if err != nil {
		return false, err
	}
	defer conn.Close()
	err = protocol.Send(conn, protocol.EnrolFrame, protocol.Enrol{Protocol: protocol.Version, Code: a.f.code.Name(), Secret: a.f.code.Secret[:], Request: request,
		Name: fmt.Sprintf("host-%05d", a.n), Addresses: []string{"10.0.0.1"}, OS: "linux", Arch: "amd64", Version: "bench"})
	if err != nil {
		return false, err
	}
	_, payload, err := protocol.Read(conn)
	if err != nil {
		return false, err
	}
	e, err := protocol.Decode[protocol.Enrolled](payload)
	if err != nil || e.State != protocol.Approved {
		if e.State == protocol.Denied {
			err = fmt.Errorf("denied: %s", e.Reason)
		}
		return false, err
	}
	a.cert = tls.Certificate{Certificate: [][]byte{e.Certificate}, PrivateKey: a.key}
	a.roots = x509.NewCertPool()
	a.roots.AddCert(conn.ConnectionState().PeerCertificates[1])
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	if a.f.verifier == nil {
		a.f.verifier, err = note.NewVerifier(e.Verifier)
	}
	return true, err
}

// connect begins the stream and leaves a goroutine reading it.
func (a *agent) connect(ctx context.Context) error {
	conn, err := a.dial(ctx, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: a.roots, ServerName: protocol.ServerName, NextProtos: []string{protocol.Streaming}, Certificates: []tls.Certificate{a.cert}})
	if err != nil {
		return err
	}
	a.conn, a.closed = conn, make(chan struct{})
	err = protocol.Send(conn, protocol.HelloFrame, protocol.Hello{Protocol: protocol.Version, Version: "bench", OS: "linux", Arch: "amd64", Name: fmt.Sprintf("host-%05d", a.n), Mode: "deny-list",
		Fleet: a.fleet, Host: a.host, Spool: fmt.Sprint(a.n), Deltas: true})
	if err != nil {
		return err
	}
	kind, _, err := protocol.Read(conn)
	if err != nil {
		return err
	}
	if kind != protocol.WelcomeFrame {
		return fmt.Errorf("the first frame is of kind %q", byte(kind))
	}
	a.f.online.Add(1)
	go a.read()
	return nil
}

func (a *agent) read() {
	defer close(a.closed)
	defer a.f.online.Add(-1)
	for {
		kind, payload, err := protocol.Read(a.conn)
		if err != nil {
			return
		}
		now := time.Now()
		switch kind {
		case protocol.BundleFrame, protocol.DeltaFrame, protocol.PieceFrame:
			if a.bring(kind, payload, now) != nil {
				a.conn.Close()
				return
			}
		case protocol.AckFrame:
			a.f.acked.Add(1)
		case protocol.PongFrame:
			a.f.pongs.Add(1)
		}
	}
}

// bring checks what came as an agent does, and says that it is in force once all of it is here.
func (a *agent) bring(kind protocol.Kind, payload []byte, now time.Time) (err error) {
	if kind == protocol.PieceFrame {
		return a.piece(payload, now)
	}
	var d protocol.Delta
	if kind == protocol.DeltaFrame {
		d, err = protocol.ParseDelta(payload)
	} else {
		d.Delivery, err = protocol.ParseDelivery(payload)
	}
	if err != nil {
		return err
	}
	m, err := a.f.open(d.Note)
	if err != nil {
		return err
	}
	for _, p := range d.Parts {
		got := protocol.PartOf("", p)
		if !names(m, got) {
			return errors.New("a part that the manifest does not name")
		}
		if _, known := a.f.parts.Load(got.SHA256); !known && m.Scope == protocol.AllHosts {
			a.f.parts.Store(got.SHA256, bytes.Clone(p))
		}
	}
	for _, p := range d.Patches {
		if err := a.f.patch(m, p); err != nil {
			return err
		}
		a.has = hex.EncodeToString(p.Target[:])
	}
	if m.Scope == protocol.AllHosts {
		a.f.bytes.Add(int64(len(payload) + 5))
	}
	return a.take(m, now)
}

// take brings a bundle into force, or asks for what is missing of it: the part that is too large to come with its manifest.
func (a *agent) take(m protocol.Manifest, now time.Time) error {
	for _, p := range m.Parts {
		if p.Size > protocol.MaxInline && a.has != p.SHA256 {
			a.waits, a.missing, a.have = m, p, nil
			return a.get()
		}
	}
	if m.Scope == protocol.AllHosts {
		a.fleet = m.Generation
		a.f.mu.Lock()
		a.f.arrived[m.Generation] = append(a.f.arrived[m.Generation], now)
		a.f.mu.Unlock()
	} else {
		a.host = m.Generation
	}
	a.f.applied.Add(1)
	conn := a.conn                                        // of now: there may be another when the time has come
	time.AfterFunc(rand.N(500*time.Millisecond), func() { // as agents do
		a.sendTo(conn, protocol.AppliedFrame, protocol.Applied{Scope: m.Scope, Generation: m.Generation})
	})
	return nil
}

func (a *agent) get() error {
	g := protocol.Get{Offset: uint64(len(a.have))}
	if _, err := hex.Decode(g.SHA256[:], []byte(a.missing.SHA256)); err != nil {
		return err
	}
	return a.sendRaw(protocol.GetFrame, g.Encode())
}

// piece takes a piece of a large part.
func (a *agent) piece(payload []byte, now time.Time) error {
	p, err := protocol.ParsePiece(payload)
	if err != nil {
		return err
	}
	a.f.bytes.Add(int64(len(payload) + 5))
	if a.have = append(a.have, p.Bytes...); len(p.Bytes) > 0 && len(a.have) < a.missing.Size {
		return a.get()
	}
	if protocol.PartOf(a.missing.Name, a.have) != a.missing {
		return errors.New("another part than the manifest names")
	}
	a.f.parts.LoadOrStore(a.missing.SHA256, a.have)
	a.has, a.have = a.missing.SHA256, nil
	return a.take(a.waits, now)
}

// patch applies a patch once for all.
func (f *fleet) patch(m protocol.Manifest, p protocol.Patch) error {
	target := hex.EncodeToString(p.Target[:])
	if _, ok := f.parts.Load(target); ok {
		return nil
	}
	before, ok := f.parts.Load(hex.EncodeToString(p.Base[:]))
	i := slices.IndexFunc(m.Parts, func(q protocol.Part) bool { return q.SHA256 == target })
	if !ok || i < 0 {
		return errors.New("a patch of what is not here, or to what the manifest does not name")
	}
	after, err := p.Apply(before.([]byte), m.Parts[i])
	if err == nil {
		f.parts.Store(target, after)
	}
	return err
}

func names(m protocol.Manifest, p protocol.Part) bool {
	for _, q := range m.Parts {
		if q.SHA256 == p.SHA256 {
			return true
		}
	}
	return false
}

func (f *fleet) open(signed []byte) (protocol.Manifest, error) {
	if m, ok := f.opened.Load(string(signed)); ok {
		return m.(protocol.Manifest), nil
	}
	m, err := protocol.Open(signed, f.verifier)
	if err == nil && m.Scope == protocol.AllHosts {
		f.opened.Store(string(signed), m)
	}
	return m, err
}

func (a *agent) sendTo(conn *tls.Conn, k protocol.Kind, v any) error {
	b, err := protocol.Encode(v)
	if err != nil {
		return err
	}
	return a.writeTo(conn, k, b)
}

func (a *agent) sendRaw(k protocol.Kind, payload []byte) error { return a.writeTo(a.conn, k, payload) }

func (a *agent) writeTo(conn *tls.Conn, k protocol.Kind, payload []byte) error {
	a.write.Lock()
	defer a.write.Unlock()
	_, err := conn.Write(protocol.Frame(k, payload))
	return err
}

// report hands one finding up.
func (a *agent) report(_ context.Context) error {
	e := &event.Event{ID: event.NewID(), Kind: event.FindingHit, Time: time.Now().UTC(), Verdict: event.Verdict{Action: event.Block, Rule: "no-messengers"},
		Content: event.Content{Program: &event.Program{Path: "/home/user/Downloads/Telegram/Telegram", App: "telegram", Form: "client", Format: "elf", Version: "5.1.7", SHA256: fmt.Sprintf("%064x", a.n), Size: 160 << 20, Confidence: event.Exact},
			Evidence: []event.Evidence{{Fact: "token", Value: "tdesktop", Strength: event.High, Source: "bench"}}}}
	body, err := protocol.EncodeEvent(e)
	if err != nil {
		return err
	}
	return a.sendRaw(protocol.ItemsFrame, protocol.Items{First: 1, List: []protocol.Item{{Kind: protocol.EventItem, Body: body}}}.Append(nil))
}

// heartbeats has every agent say that it lives, spread over each minute, until the context ends.
func (f *fleet) heartbeats(ctx context.Context) {
	every := time.Minute / time.Duration(len(f.agents))
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
			f.agents[i%len(f.agents)].sendRaw(protocol.PingFrame, nil)
		case <-ctx.Done():
			return
		}
	}
}
