package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/console"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/conversation/connector"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp"
	"github.com/chaperone-im/chaperone/internal/conversation/pipeline"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/network/dns"
	"github.com/chaperone-im/chaperone/internal/storage/object"
	"github.com/chaperone-im/chaperone/internal/telemetry"
	"github.com/prometheus/client_golang/prometheus"
)

// Server is one running process with everything that its configuration names.
type Server struct {
	cfg      *config.Config
	log      *slog.Logger
	version  string
	store    *Store
	rules    *Rules
	board    *health.Board
	registry *prometheus.Registry
	meters   *meters
	recorder event.Recorder // of the planes: raises alerts once a record is durable
	observer *journal.Observations
	parts    []part
}

// part is one thing that runs until the context ends.
type part struct {
	name  string
	ready <-chan struct{} // nil: at once
	run   func(ctx context.Context) error
}

// New opens the data directory and builds every part, but starts none.
func New(ctx context.Context, cfg *config.Config, log *slog.Logger, version string) (*Server, error) {
	s := &Server{cfg: cfg, log: log, version: version, registry: telemetry.NewRegistry(),
		board: health.NewBoard(func() time.Time { return time.Now().UTC() })}
	s.meters = newMeters(s.registry)
	var err error
	if s.rules, err = LoadRules(cfg); err != nil {
		return nil, err
	}
	if s.store, err = OpenStore(ctx, cfg, s.rules.Class, s.board, log); err != nil {
		return nil, err
	}
	s.observer = journal.NewObservations(s.store.Recorder, time.Minute, log)
	if err := s.build(); err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	return s, nil
}

func (s *Server) build() error {
	s.board.Set("policy", health.OK, "version "+s.rules.Policy().Version(), "")
	var err error
	if s.recorder, err = s.alerts(); err != nil {
		return err
	}
	s.add(part{name: "observations", run: func(ctx context.Context) error { s.observer.Run(ctx); return nil }})
	s.add(part{name: "journal", run: s.watchJournal})
	for _, g := range s.cfg.Gateways {
		if err := s.gateway(g); err != nil {
			return err
		}
	}
	if s.cfg.Network.Resolver != nil {
		if err := s.resolver(s.cfg.Network.Resolver); err != nil {
			return err
		}
	}
	for _, sensor := range s.cfg.Network.Sensors {
		s.add(part{name: "sensor " + sensor.Interface, run: s.sensor(sensor)})
	}
	s.add(part{name: "control", run: func(ctx context.Context) error {
		return control.Serve(ctx, s.store.Dir, Operations(s.store, s.rules), s.store.Book)
	}})
	if s.cfg.Console.Listen != "" {
		if err := s.console(); err != nil {
			return err
		}
	}
	if s.cfg.Metrics.Listen != "" {
		return s.listen("metrics", s.cfg.Metrics.Listen, s.metricsHandler(), "", "")
	}
	return nil
}

func (s *Server) add(p part) { s.parts = append(s.parts, p) }

func (s *Server) gateway(g config.Gateway) error {
	objects, err := object.Open(s.store.Dir, 0)
	if err != nil {
		return err
	}
	p := pipeline.New(pipeline.Config{Connector: g.ID, Open: g.OnFailure == "open"}, pipeline.Deps{
		Directory: s.store.People, Inspection: s.rules, Policy: s.rules, Recorder: s.recorder, Objects: objects,
		Meter: s.meters, Health: s.board, Clock: s.store.Clock, Log: s.log})
	gw, err := xmpp.New(xmpp.FromConfig(g, s.cfg.Path), xmpp.Deps{Judge: p, Log: s.log, Clock: s.store.Clock, Health: s.board})
	if err != nil {
		return err
	}
	var c connector.Connector = gw
	s.add(part{name: "pipeline " + g.ID, run: p.Run})
	s.add(part{name: "gateway " + g.ID, ready: c.Ready(), run: c.Run})
	return nil
}

func (s *Server) resolver(c *config.Resolver) error {
	rewrite := map[string]netip.Addr{}
	for name, text := range c.Rewrite {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("network.resolver.rewrite: %w", err)
		}
		rewrite[name] = addr
	}
	r, err := dns.New(dns.Config{Listen: c.Listen, Upstream: c.Upstream, Timeout: c.Timeout, Rewrite: rewrite, Rebind: c.RebindProtection, Answer: dns.Answer(c.Answer)},
		dns.Deps{Decider: s.rules, Catalog: s.rules.catalog, Directory: s.store.People, Recorder: s.recorder, Observer: s.observer,
			Board: s.board, Log: s.log, Clock: s.store.Clock})
	if err != nil {
		return err
	}
	s.add(part{name: "resolver", ready: r.Ready(), run: r.Run})
	return nil
}

func (s *Server) console() error {
	if s.store.Archive == nil {
		return errors.New("console.listen is set, but keys.unlock is not: the console could read nothing")
	}
	apps := map[string]string{}
	for _, a := range s.rules.catalog.Apps() {
		apps[a.ID] = a.Name
	}
	c, err := console.New(console.Deps{
		Archive: s.store.Archive, Search: s.searchFor, Policy: s.rules.Policy, Try: s.rules.Try, Ledger: s.ledgerState, Verify: s.verifyNow, Holds: s.store.Holds.List,
		Board: s.board, Book: s.store.Book, Acts: s.store.Recorder, Apps: apps, Clock: s.store.Clock, Log: s.log, Version: s.version})
	if err != nil {
		return err
	}
	cert, key := s.cfg.Path(s.cfg.Console.Certificate), s.cfg.Path(s.cfg.Console.Key)
	if cert == "" {
		if cert, key, err = SelfSigned(s.cfg.KeysDir(), "console"); err != nil {
			return err
		}
	}
	return s.listen("console", s.cfg.Console.Listen, c.Handler(), cert, key)
}

// listen binds at once, so that an address in use is an error at start, and serves when the server runs.
func (s *Server) listen(name, address string, h http.Handler, cert, key string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	s.add(part{name: name, run: func(ctx context.Context) error {
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			<-ctx.Done()
			drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			srv.Shutdown(drain)
		}()
		var err error
		if cert != "" {
			err = srv.ServeTLS(l, cert, key)
		} else {
			err = srv.Serve(l)
		}
		if errors.Is(err, http.ErrServerClosed) {
			<-stopped
			return nil
		}
		return err
	}})
	return nil
}

// Run starts every part, calls ready when all accept work, and stops all of them when the context ends or one fails.
func (s *Server) Run(ctx context.Context, ready func()) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.store.Start(ctx)
	s.record(ctx, "serve.start")
	done := make(chan struct{}, len(s.parts))
	for _, p := range s.parts {
		go func() {
			defer func() { done <- struct{}{} }()
			if err := p.run(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("part failed", "part", p.name, "error", err)
				stop(fmt.Errorf("%s: %w", p.name, err))
			}
		}()
	}
	for _, p := range s.parts {
		if p.ready == nil {
			continue
		}
		select {
		case <-p.ready:
		case <-ctx.Done():
		}
	}
	if ctx.Err() == nil {
		ready()
		s.watchSignals(ctx)
	}
	for range s.parts {
		<-done
	}
	s.record(context.WithoutCancel(ctx), "serve.stop")
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, s.store.Close())
}

// watchSignals reloads the policy at SIGHUP until the context ends.
func (s *Server) watchSignals(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-hup:
			s.reload(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) reload(ctx context.Context) {
	if err := s.rules.Reload(); err != nil {
		s.log.Error("policy reload", "error", err)
		s.board.Set("policy", health.Degraded, "the file is broken, the policy before stays in force: "+err.Error(), "chaperone policy check says what is wrong")
		return
	}
	s.board.Set("policy", health.OK, "version "+s.rules.Policy().Version(), "")
	s.record(ctx, "policy.reload")
}

func (s *Server) record(ctx context.Context, action string) {
	err := s.store.Recorder.Record(ctx, &event.Event{Kind: event.Act, Phase: action, Connector: "serve",
		Content: event.Content{Act: &event.ActDetail{Action: action, Object: s.rules.Policy().Version(), Details: []event.Fact{{Name: "version", Value: s.version}}}}})
	if err != nil {
		s.log.Error("record an act", "act", action, "error", err)
		s.board.Set("journal", health.Failed, err.Error(), "See the disk: df, dmesg. What cannot be recorded is refused.")
	}
}

func (s *Server) searchFor(ctx context.Context, v *archive.View, query string, limit int) ([]archive.Record, error) {
	var out []archive.Record
	for r, err := range s.store.Searcher.Search(ctx, v, query, "", limit) {
		if err != nil {
			return nil, err
		}
		out = append(out, r.Record)
	}
	return out, nil
}

// watchJournal keeps health and metrics of the record up, once a second.
func (s *Server) watchJournal(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s.measure(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Server) measure(ctx context.Context) {
	streams, err := s.store.Journal.Streams()
	if err == nil {
		for name, last := range maps.All(streams) {
			s.meters.frames.WithLabelValues(name).Set(float64(last))
		}
	}
	for _, i := range s.board.Items() {
		s.meters.health.WithLabelValues(i.Name).Set(map[health.State]float64{health.OK: 0, health.Degraded: 1, health.Failed: 2}[i.State])
	}
	if free, err := freeBytes(s.store.Dir); err == nil {
		switch {
		case free < 64<<20:
			s.board.Set("disk", health.Failed, fmt.Sprintf("%d MiB free under the data directory", free>>20), "Make room: what cannot be recorded is refused.")
		case free < 1<<30:
			s.board.Set("disk", health.Degraded, fmt.Sprintf("%d MiB free under the data directory", free>>20), "Make room soon.")
		default:
			s.board.Set("disk", health.OK, fmt.Sprintf("%d GiB free", free>>30), "")
		}
	}
	if s.store.Projector == nil {
		return
	}
	lag, err := s.store.Projector.Lag(ctx)
	switch {
	case err != nil:
		s.board.Set("projections", health.Degraded, err.Error(), "Search and pages may be stale; records are still made.")
	case lag.Behind > 5*time.Second:
		s.board.Set("projections", health.Degraded, fmt.Sprintf("%d frames (%s) behind the journal", lag.Frames, lag.Behind.Round(time.Second)), "Search and pages are stale; records are still made.")
	default:
		s.board.Set("projections", health.OK, fmt.Sprintf("%d frames behind", lag.Frames), "")
	}
	s.meters.lag.Set(lag.Behind.Seconds())
}

func freeBytes(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
