// Package santa is a sync server for Santa, the binary authorization system of macOS (sync protocol v1, as github.com/northpolesec/protos
// sync/v1.proto and the page "Sync Protocol" of Santa's documentation publish it): its machines get the rules of the policy, and what they
// stopped becomes a record.
//
// A machine is let in by a client certificate that names it, or by a token of its own; what it says is believed of itself alone. Rules are
// made for each machine by the policy at that moment, and handed out in pages of one set. A machine that has another set than the one in
// force, or asks for it, is told to begin clean. An upload is answered once it is on record; a machine that gets no answer sends again, and
// gives the same records. Which machine got which rules is an act.
package santa

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/server/certificate"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// Config says how machines are served.
type Config struct {
	Listen           string
	Certificate, Key string // of the server, as PEM files
	ClientCA         string // of the machines' certificates, as a PEM file; "" for none
	Tokens           string // file of the machines' tokens; "" for none
	Data, Keys       string // folders
	MaxMachines      int    // default 20000
}

// FromConfig returns the configuration in that of the server.
func FromConfig(c *config.Config) Config {
	return Config{Listen: c.Santa.Listen, Certificate: c.Path(c.Santa.Certificate), Key: c.Path(c.Santa.Key), ClientCA: c.Path(c.Santa.ClientCA), Tokens: c.Path(c.Santa.Tokens),
		Data: c.Data(), Keys: c.KeysDir()}
}

// Deps is what a Server works with.
type Deps struct {
	Rules     func(host event.Host) (*policy.Policy, *catalog.Catalog, error) // in force for a machine, with what is approved for its person
	Directory identity.Directory
	Recorder  event.Recorder // of what machines report
	Observer  event.Observer // of what they let run, where they say so
	Acts      event.Recorder // of what they were given
	Board     *health.Board
	Clock     clock.Clock
	Log       *slog.Logger
}

// Bounds.
const (
	defaultMachines = 20_000
	readTime        = time.Minute
	writeTime       = time.Minute
	drainTime       = 5 * time.Second
	saveEvery       = 30 * time.Second
	healthItem      = "santa"
)

// Server is a sync server.
type Server struct {
	cfg      Config
	deps     Deps
	access   *access
	machines *machines
	eventKey []byte // of the ids of events
	listener net.Listener
	http     *http.Server
	large    chan struct{} // bodies in memory
	busy     sync.Map      // machines with a request, by id
}

// New opens what is known of the machines and binds the address.
func New(cfg Config, d Deps) (*Server, error) {
	if cfg.MaxMachines <= 0 {
		cfg.MaxMachines = defaultMachines
	}
	s := &Server{cfg: cfg, deps: d, large: make(chan struct{}, maxBodies)}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("santa: %w", err)
	}
	s.setHealth()
	return s, nil
}

func (s *Server) open() (err error) {
	if s.access, err = newAccess(s.cfg.ClientCA, s.cfg.Tokens); err != nil {
		return err
	}
	cert, key := s.cfg.Certificate, s.cfg.Key
	if cert == "" {
		host, _, err := net.SplitHostPort(s.cfg.Listen)
		if err != nil {
			return err
		}
		if cert, key, err = certificate.SelfSigned(s.cfg.Keys, "santa", host); err != nil {
			return err
		}
	}
	pair, err := outside.KeyPair(cert, key)
	if err != nil {
		return err
	}
	if s.eventKey, err = file.LoadOrCreateSecret(filepath.Join(s.cfg.Keys, "santa-events.key"), 32); err != nil {
		return err
	}
	if s.machines, err = openMachines(filepath.Join(s.cfg.Data, "state", "santa.json"), s.cfg.MaxMachines); err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return err
	}
	s.listener = l
	s.http = &http.Server{Handler: s.Handler(), TLSConfig: s.access.tls(pair), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: readTime, WriteTimeout: writeTime,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelDebug)}
	return nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close gives the address back of a server that was never run.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until the context ends.
func (s *Server) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	stopped, stop := context.WithCancel(ctx)
	beside.Go(func() { s.keep(stopped) })
	beside.Go(func() {
		<-stopped.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if s.http.Shutdown(drain) != nil {
			s.http.Close()
		}
	})
	err := s.http.Serve(tls.NewListener(s.listener, s.http.TLSConfig))
	stop()
	beside.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, s.machines.save())
}

// keep writes down what is known of the machines, and says how they are.
func (s *Server) keep(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.machines.save(); err != nil {
				s.deps.Log.Error("santa: save machines", "error", err)
			}
			s.setHealth()
		case <-ctx.Done():
			return
		}
	}
}

// setHealth says how the machines are.
func (s *Server) setHealth() {
	all, lately, troubled := s.machines.count(s.deps.Clock.Now().Add(-24 * time.Hour))
	text := fmt.Sprintf("%d machines, %d of them in the last day", all, lately)
	if troubled > 0 {
		s.deps.Board.Set(healthItem, health.Degraded, fmt.Sprintf("%s, %d could not take all rules", text, troubled), "Each begins clean with its next sync. The log names them.")
		return
	}
	s.deps.Board.Set(healthItem, health.OK, text, "")
}
