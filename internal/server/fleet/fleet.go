// Package fleet is the server of a fleet of agents: it enrols machines, pushes signed policy to them and takes up what they found.
//
// One framed TLS stream serves each agent: a goroutine that reads, and one that writes only while there is something to write. What an agent
// is to have is never queued but derived from the state when its stream is written, so that a slow agent holds nothing but its own socket.
// Every agent has bounds of its own on frames, bytes and connections, and what it says about itself is believed about itself alone.
//
// What agents find becomes records through the journal before it is acknowledged; who did what with the fleet is an act before it is done.
package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/server/fleet/authority"
	"github.com/chaperone-im/chaperone/internal/server/fleet/packages"
	"github.com/chaperone-im/chaperone/internal/server/fleet/rate"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// Holds tells whether a host is under a legal hold (law 5).
type Holds interface {
	HostHeld(ctx context.Context, host event.Host) (matter string, held bool, err error)
}

// Source gives what agents are to have.
type Source interface {
	Version() string                     // of policy and catalog together
	Policy() []byte                      // the policy file in force
	Catalog() (bundle []byte, err error) // the signed bundle in force; nil for the built-in one
	Groups(host event.Host) []string     // those of the policy that a machine or its person is in
	Check(a Approval) error              // why an exception could be no rule, or has no group of the policy; its messenger and group in the first place
}

// Config says how a fleet is served.
type Config struct {
	Listen      string
	Data, Keys  string   // folders
	MaxHosts    int      // default 20000
	CatalogKeys []string // verifiers of those that may sign catalogs
	MustRun     []string // paths that agents never block
	Heartbeat   time.Duration
	Version     string // of this program
}

// Deps is what a Server works with.
type Deps struct {
	Source    Source
	Directory identity.Directory
	Recorder  event.Recorder // of what agents found
	Acts      event.Recorder // of what people do with the fleet
	Holds     Holds          // nil where holds cannot be read: then nothing is ever removed
	Board     *health.Board
	Clock     clock.Clock
	Log       *slog.Logger
}

// Bounds on what comes in.
const (
	defaultHosts     = 20_000
	defaultHeartbeat = time.Minute
	handshakeTime    = 10 * time.Second
	halfOpen         = 512 // connections that have not said who they are
	halfOpenEach     = 256 // the same, of one address
	largeFrames      = 128 // frames larger than protocol.Small in memory at a time
	recordings       = 128 // of what agents report, at a time: the others wait their turn, unread
)

// Server is a fleet server.
type Server struct {
	cfg  Config
	deps Deps
	auth *authority.Authority

	roster    *roster
	codes     *codes
	approvals *approvals
	campaigns *campaigns
	releases  *packages.Shelf
	eventKey  []byte // of the ids of events

	listener net.Listener
	release  atomic.Pointer[release]
	slots    chan struct{} // half-open connections
	large    chan struct{}
	turns    chan struct{} // of recording
	addrs    *rate.Counter // half-open connections by address
	wrong    *rate.Counter // wrong codes by address

	mu       sync.Mutex
	sessions map[string]*session // by host
	serving  sync.WaitGroup
}

// New opens the state of a fleet and binds its address.
func New(cfg Config, d Deps) (*Server, error) {
	if cfg.MaxHosts <= 0 {
		cfg.MaxHosts = defaultHosts
	}
	if cfg.Heartbeat <= 0 {
		cfg.Heartbeat = defaultHeartbeat
	}
	s := &Server{cfg: cfg, deps: d, slots: make(chan struct{}, halfOpen), large: make(chan struct{}, largeFrames), turns: make(chan struct{}, recordings), sessions: map[string]*session{},
		addrs: rate.NewCounter(d.Clock.Now), wrong: rate.NewCounter(d.Clock.Now)}
	if err := s.open(); err != nil {
		return nil, err
	}
	listen := net.ListenConfig{KeepAlive: 5 * time.Minute}
	var err error
	if s.listener, err = listen.Listen(context.Background(), "tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	return s, nil
}

func (s *Server) open() error {
	dir := filepath.Join(s.cfg.Data, "state", "fleet")
	var err error
	if s.auth, err = authority.Open(s.cfg.Keys, s.deps.Clock); err != nil {
		return err
	}
	if s.eventKey, err = file.LoadOrCreateSecret(filepath.Join(s.cfg.Keys, "fleet-events.key"), 32); err != nil {
		return fmt.Errorf("fleet keys: %w", err)
	}
	if s.roster, err = openRoster(dir, s.cfg.MaxHosts); err != nil {
		return err
	}
	if s.codes, err = openCodes(dir, s.deps.Clock.Now); err != nil {
		return err
	}
	if s.approvals, err = openApprovals(dir, s.deps.Clock.Now); err != nil {
		return err
	}
	if s.campaigns, err = openCampaigns(dir); err != nil {
		return err
	}
	if s.releases, err = packages.Open(filepath.Join(dir, "releases")); err != nil {
		return err
	}
	return s.publish()
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close gives the address back of a server that was never run.
func (s *Server) Close() error { return s.listener.Close() }

// Intervals of what is looked at again.
const (
	lookForPolicy   = 100 * time.Millisecond
	lookAtHosts     = 15 * time.Second
	snapshotEvery   = time.Minute
	healthItem      = "fleet"
	staleAfter      = 7 * 24 * time.Hour
	shutdownRefusal = 5 // seconds that agents stay away from a server that stops
)

// Run serves until the context ends.
func (s *Server) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.serving.Go(func() { s.watch(ctx) })
	unhook := context.AfterFunc(ctx, func() { s.listener.Close() })
	defer unhook()
	err := s.accept(ctx)
	stop()
	s.hangUp()
	s.serving.Wait()
	if snapshot := s.roster.snapshot(); snapshot != nil {
		err = errors.Join(err, snapshot)
	}
	return err
}

// accept takes connections until the listener is closed.
func (s *Server) accept(ctx context.Context) error {
	config := s.auth.TLS(s.belongs)
	for {
		conn, err := s.listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("fleet: %w", err)
			}
			s.deps.Log.Warn("fleet: accept", "error", err) // out of descriptors: wait for some
			clock.Pause(ctx, 100*time.Millisecond)
			continue
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			conn.Close()
			return nil
		}
		s.serving.Go(func() {
			defer func() { <-s.slots }()
			if err := s.meet(ctx, tls.Server(conn, config)); err != nil && ctx.Err() == nil {
				s.deps.Log.Debug("fleet: a connection came to nothing", "from", conn.RemoteAddr().String(), "error", err)
			}
		})
	}
}

// meet finds out who connects. It owns the connection until an agent's session does.
func (s *Server) meet(ctx context.Context, conn *tls.Conn) error {
	from := addressOf(conn)
	if !s.addrs.Add(from, halfOpenEach) {
		conn.NetConn().Close()
		return errors.New("too many half-open connections of one address")
	}
	defer s.addrs.Done(from)
	if err := conn.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return errors.Join(err, conn.Close())
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		if errors.Is(err, ErrUnknownHost) {
			s.linger(conn.NetConn())
		}
		return errors.Join(err, conn.NetConn().Close())
	}
	if conn.ConnectionState().NegotiatedProtocol == protocol.Enrolling {
		err := s.enrol(ctx, conn, from)
		return errors.Join(err, conn.Close())
	}
	ss, err := s.greet(ctx, conn, from)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	s.serving.Go(func() { ss.read(ctx) }) // on a stack that no handshake has grown
	return nil
}

// lingerTime is how long a machine that was put out may take to read the alert that says so.
const lingerTime = time.Second

// linger lets the other side read the last alert: what it sent after its part of the handshake is read, as closing with it unread resets the
// connection, and on some systems what came before is lost then.
func (s *Server) linger(conn net.Conn) {
	t, ok := conn.(*net.TCPConn)
	if !ok || t.CloseWrite() != nil || t.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	io.CopyN(io.Discard, t, 64<<10) // it hangs up, or is hung up on
}

func addressOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}

// watch looks for a changed policy, for holds and people that change what a host may do, and keeps health and the snapshot up.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(lookForPolicy)
	defer tick.Stop()
	var hosts, snapshot time.Time
	var looking round
	for {
		if err := s.publish(); err != nil {
			s.deps.Log.Error("fleet: publish policy", "error", err)
			s.deps.Board.Set(healthItem, health.Degraded, "the policy in force could not be given to agents: "+err.Error(), "They keep the one they have.")
		} else if now := s.deps.Clock.Now(); now.Sub(hosts) >= lookAtHosts {
			hosts = now
			looking = newRound(s.all())
			s.setHealth()
		}
		looking.step(hostFlag)
		if now := s.deps.Clock.Now(); now.Sub(snapshot) >= snapshotEvery {
			snapshot = now
			if err := s.roster.snapshot(); err != nil {
				s.deps.Log.Error("fleet: snapshot", "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// setHealth says how the fleet is.
func (s *Server) setHealth() {
	now := s.deps.Clock.Now()
	var approved, online, pending, stale, behind, troubled int
	current := s.release.Load().manifest.Generation
	for _, h := range s.roster.list(Approved, Pending) {
		switch {
		case h.State == Pending:
			pending++
			continue
		case h.Seen.Online:
			online++
		case now.Sub(h.Seen.At) > staleAfter:
			stale++
		}
		approved++
		if h.Seen.Trouble != "" {
			troubled++
		} else if h.Seen.Online && h.Seen.Fleet != current {
			behind++
		}
	}
	text := fmt.Sprintf("%d hosts, %d connected", approved, online)
	add := func(n int, what string) {
		if n > 0 {
			text += fmt.Sprintf(", %d %s", n, what)
		}
	}
	add(pending, "waiting for approval")
	add(behind, "on their way to the policy in force")
	add(stale, "not seen for a week")
	add(troubled, "cannot bring the policy into force")
	if troubled > 0 || s.deps.Holds == nil && approved > 0 {
		advice := "chaperone fleet hosts says which, and why."
		if s.deps.Holds == nil {
			advice = "No compliance key is unlocked here, so holds cannot be read and nothing is removed from any host."
		}
		s.deps.Board.Set(healthItem, health.Degraded, text, advice)
		return
	}
	s.deps.Board.Set(healthItem, health.OK, text, "")
}

// act makes what somebody does a record, before it is done.
func (s *Server) act(ctx context.Context, by, action, object string, details ...event.Fact) error {
	err := s.deps.Acts.Record(ctx, &event.Event{Kind: event.Act, Phase: action, Connector: "fleet", From: event.Party{Handle: by},
		Content: event.Content{Act: &event.ActDetail{Action: action, Object: object, Details: details}}})
	if err != nil {
		return fmt.Errorf("%s could not be recorded, and was not done: %w", action, err)
	}
	return nil
}
