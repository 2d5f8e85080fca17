package xmpp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/muc"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/sight"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Gateway is the connector in front of one XMPP server.
type Gateway struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	clock  clock.Clock
	times  Times
	limits struct{ client, server xmlstream.Limits }

	serverTLS  []*tls.Config // by listener
	clientTLS  *tls.Config
	uploads    *uploads
	memory     *sight.Memory // of messages
	statuses   *sight.Memory // of presences that say something
	rooms      muc.Rooms
	transfers  transfers
	resumable  resumable
	ready      chan struct{}
	sessions   sync.WaitGroup
	mu         sync.Mutex
	perAddress map[string]int
	open       int
	listeners  []net.Listener
}

const (
	defaultPerAddress = 200
	defaultSessions   = 20_000
	sightsKept        = 32_768
	serverStanza      = 4 << 20 // rosters and archive results are larger than what clients send
)

// New checks the configuration, loads certificates and returns a gateway that is ready to Run.
func New(cfg Config, deps Deps) (*Gateway, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if deps.Judge == nil || deps.Log == nil {
		return nil, fmt.Errorf("gateway %q: no judge or no log", cfg.ID)
	}
	if deps.Clock == nil {
		deps.Clock = clock.System{}
	}
	g := &Gateway{
		cfg: cfg, deps: deps, log: deps.Log.With("gateway", cfg.ID), clock: deps.Clock, times: deps.Times.withDefaults(),
		memory: sight.New(sightsKept), statuses: sight.New(sightsKept), resumable: resumable{ids: map[string]*account{}}, ready: make(chan struct{}), perAddress: map[string]int{},
	}
	g.cfg.Listen = slices.Clone(cfg.Listen)
	for i := range g.cfg.Listen {
		g.cfg.Listen[i].TLS = cmp.Or(g.cfg.Listen[i].TLS, StartTLS)
	}
	g.cfg.Upstream.TLS = cmp.Or(cfg.Upstream.TLS, StartTLS)
	if g.cfg.PerAddress <= 0 {
		g.cfg.PerAddress = defaultPerAddress
	}
	if g.cfg.Sessions <= 0 {
		g.cfg.Sessions = defaultSessions
	}
	g.limits.client = xmlstream.DefaultLimits
	if cfg.MaxStanza > 0 {
		g.limits.client.Bytes = cfg.MaxStanza
	}
	if cfg.MaxDepth > 0 {
		g.limits.client.Depth = cfg.MaxDepth
	}
	g.limits.server = xmlstream.Limits{Bytes: max(serverStanza, g.limits.client.Bytes), Depth: 128, Attributes: 128, Elements: 100_000}
	if err := g.loadTLS(); err != nil {
		return nil, fmt.Errorf("gateway %q: %w", cfg.ID, err)
	}
	return g, nil
}

func (g *Gateway) loadTLS() error {
	for _, l := range g.cfg.Listen {
		if l.TLS == Off {
			g.serverTLS = append(g.serverTLS, nil)
			continue
		}
		c, err := certificate(l.Certificate, l.Key)
		if err != nil {
			return err
		}
		g.serverTLS = append(g.serverTLS, c)
	}
	g.clientTLS = &tls.Config{ServerName: g.cfg.Domain, MinVersion: tls.VersionTLS12, NextProtos: []string{"xmpp-client"}}
	if g.cfg.Upstream.CA != "" {
		var err error
		if g.clientTLS.RootCAs, err = outside.Authorities(g.cfg.Upstream.CA); err != nil {
			return fmt.Errorf("upstream: %w", err)
		}
	}
	if g.cfg.Uploads == nil {
		return nil
	}
	var err error
	g.uploads, err = newUploads(g)
	return err
}

func certificate(cert, key string) (*tls.Config, error) {
	pair, err := outside.KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// ID returns the gateway's name.
func (g *Gateway) ID() string { return g.cfg.ID }

// Ready is closed when clients can connect.
func (g *Gateway) Ready() <-chan struct{} { return g.ready }

// Addresses returns where it listens, in the order of the configuration; valid once ready.
func (g *Gateway) Addresses() []net.Addr {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []net.Addr
	for _, l := range g.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// UploadAddress returns where uploads go, nil when there are none.
func (g *Gateway) UploadAddress() net.Addr {
	if g.uploads == nil {
		return nil
	}
	return g.uploads.address()
}

// Run serves until ctx ends; then sessions are told that the system shuts down, and have a moment to end.
func (g *Gateway) Run(ctx context.Context) error {
	if err := g.listen(ctx); err != nil {
		g.setHealth(health.Failed, err.Error(), "free the address or change listen in the configuration")
		return err
	}
	g.setHealth(health.OK, "", "")
	close(g.ready)
	var serving sync.WaitGroup
	for i, l := range g.listeners {
		serving.Go(func() { g.accept(ctx, l, i) })
	}
	if g.uploads != nil {
		serving.Go(func() { g.uploads.serve(ctx) })
	}
	serving.Go(func() { g.expireLost(ctx) })
	<-ctx.Done()
	for _, l := range g.listeners {
		l.Close()
	}
	serving.Wait()
	ended := make(chan struct{})
	go func() {
		g.sessions.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(2 * g.times.Drain):
		return fmt.Errorf("gateway %q: sessions did not end in time", g.cfg.ID)
	}
	return nil
}

func (g *Gateway) setHealth(s health.State, detail, advice string) {
	if g.deps.Health != nil {
		g.deps.Health.Set("gateway "+g.cfg.ID, s, detail, advice)
	}
}

func (g *Gateway) listen(ctx context.Context) error {
	var lc net.ListenConfig
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.cfg.Listen {
		ln, err := lc.Listen(ctx, "tcp", l.Address)
		if err != nil {
			for _, open := range g.listeners {
				open.Close()
			}
			return fmt.Errorf("gateway %q: %w", g.cfg.ID, err)
		}
		g.listeners = append(g.listeners, ln)
	}
	if g.uploads == nil {
		return nil
	}
	if err := g.uploads.listen(ctx); err != nil {
		for _, open := range g.listeners {
			open.Close()
		}
		return fmt.Errorf("gateway %q: uploads: %w", g.cfg.ID, err)
	}
	return nil
}

func (g *Gateway) accept(ctx context.Context, l net.Listener, index int) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			g.log.Warn("accept", "error", err)
			select {
			case <-time.After(100 * time.Millisecond): // out of file descriptors: let some sessions end
			case <-ctx.Done():
				return
			}
			continue
		}
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		if !g.admit(host) {
			conn.Close()
			continue
		}
		g.sessions.Go(func() {
			defer g.release(host)
			newSession(g, conn, index, host).run(ctx)
		})
	}
}

func (g *Gateway) admit(host string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= g.cfg.Sessions || g.perAddress[host] >= g.cfg.PerAddress {
		return false
	}
	g.open++
	g.perAddress[host]++
	return true
}

func (g *Gateway) release(host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if g.perAddress[host]--; g.perAddress[host] == 0 {
		delete(g.perAddress, host)
	}
}

// expireLost gives up sessions that were lost and not resumed: their users have left their rooms.
func (g *Gateway) expireLost(ctx context.Context) {
	tick := time.NewTicker(min(time.Minute, g.times.Resume))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, a := range g.resumable.expire(g.clock.Now().Add(-g.times.Resume)) {
			g.leaveAll(ctx, a)
		}
	}
}

// leaveAll records that the user of an account left all rooms.
func (g *Gateway) leaveAll(ctx context.Context, a *account) {
	a.mu.Lock()
	joined, bare := a.joined, a.bare
	a.joined = map[string]string{}
	a.mu.Unlock()
	for room, nick := range joined {
		g.rooms.Leave(room, nick)
		g.left(ctx, room, bare)
	}
}

func (g *Gateway) left(ctx context.Context, room, bare string) {
	e := g.newEvent(event.Leave)
	e.Room.Name, e.From.Handle = room, bare
	g.outcome(ctx, e)
}
