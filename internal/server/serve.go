package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/console"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/conversation/connector"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp"
	"github.com/chaperone-im/chaperone/internal/conversation/pipeline"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/network/dns"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/server/certificate"
	"github.com/chaperone-im/chaperone/internal/server/execution"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
	"github.com/chaperone-im/chaperone/internal/server/santa"
	"github.com/chaperone-im/chaperone/internal/server/selfverify"
	"github.com/chaperone-im/chaperone/internal/server/sensors"
	"github.com/chaperone-im/chaperone/internal/storage/object"
	"github.com/chaperone-im/chaperone/internal/telemetry"
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
	observer event.Observer // of the planes: counts, and keeps for some days
	objects  *object.Store
	parts    []part
	agents   *fleet.Server // nil where no fleet is served
	desk     *execution.Desk
	unused   []io.Closer // listeners that are bound and not served yet
}

// part is one thing that runs until the context ends.
type part struct {
	name  string
	after bool            // stops after the others, because they hand it what is left to do
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
	if err = s.rules.upgrade(ctx, s.store); err == nil {
		err = s.build(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.discard())
	}
	return s, nil
}

// discard gives back what New took, when it comes to no Run.
func (s *Server) discard() error {
	for _, l := range s.unused {
		l.Close()
	}
	return s.store.Close()
}

func (s *Server) build(ctx context.Context) error {
	s.board.Set("policy", health.OK, "version "+s.rules.Policy().Version(), "")
	s.checkAccounts()
	var err error
	if s.objects, err = object.Open(s.store.Dir, 0); err != nil {
		return err
	}
	if err := s.objects.Sweep(); err != nil { // the journal's lock is ours
		return fmt.Errorf("sweep objects: %w", err)
	}
	if s.recorder, err = s.alerts(); err != nil {
		return err
	}
	if err := s.execution(ctx); err != nil {
		return err
	}
	s.observations()
	s.add(part{name: "verification", run: s.selfVerifier().Run})
	s.add(part{name: "keys", run: s.watchRoots})
	s.add(part{name: "record", run: s.watchShort})
	s.add(part{name: "key files", run: s.watchExposed})
	s.add(part{name: "journal", after: true, run: s.watchJournal})
	s.setCatalogHealth()
	s.add(part{name: "catalog", run: s.watchCatalog})
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
	if err := s.sensors(); err != nil {
		return err
	}
	if s.cfg.Fleet.Listen != "" {
		if err := s.fleet(); err != nil {
			return err
		}
	}
	if s.cfg.Santa.Listen != "" {
		if err := s.santa(); err != nil {
			return err
		}
	}
	if err := s.control(); err != nil {
		return err
	}
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

func (s *Server) control() error {
	l, err := control.Listen(s.store.Dir)
	if err != nil {
		return err
	}
	s.unused = append(s.unused, l)
	ops := (&operations{s.store, s.rules, s.recorder, true}).list()
	ops = append(ops, s.desk.Operations()...)
	if s.agents != nil {
		ops = append(ops, s.agents.Operations()...)
	}
	s.add(part{name: "control", run: func(ctx context.Context) error {
		return control.Serve(ctx, l, s.store.Dir, ops, s.store.Book)
	}})
	return nil
}

func (s *Server) fleet() (err error) {
	d := fleet.Deps{Source: fleet.Rules{Pair: s.rules.Pair, Data: s.store.Dir, People: s.store.People}, Directory: s.store.People, Recorder: s.recorder, Acts: s.store.Recorder, Board: s.board, Clock: s.store.Clock, Log: s.log}
	if s.store.Holds != nil {
		d.Holds = s.store.Holds
	}
	if s.agents, err = fleet.New(fleet.FromConfig(s.cfg, s.version), d); err != nil {
		return err
	}
	s.desk.Grant = s.agents.Grant
	s.unused = append(s.unused, s.agents)
	s.add(part{name: "fleet", run: s.agents.Run})
	return nil
}

func (s *Server) santa() error {
	inForce := func(host event.Host) (*policy.Policy, *catalog.Catalog, error) {
		set := s.rules.Pair().First.Set
		if s.agents != nil {
			return s.agents.DecidesBy(set, host)
		}
		return set.Policy, set.Catalog, nil
	}
	m, err := santa.New(santa.FromConfig(s.cfg), santa.Deps{Rules: inForce, Directory: s.store.People, Recorder: s.recorder, Observer: s.observer, Acts: s.store.Recorder,
		Board: s.board, Clock: s.store.Clock, Log: s.log})
	if err != nil {
		return err
	}
	s.unused = append(s.unused, m)
	s.add(part{name: "santa", run: m.Run})
	return nil
}

// execution sums up what is recorded of programs, for rules of other enforcers and for lockdown.
func (s *Server) execution(ctx context.Context) error {
	t, err := execution.Open(s.store.Dir, s.store.Clock, s.log)
	if err != nil {
		return err
	}
	if err := t.Follow(ctx, s.store.Journal, s.store.opener); err != nil {
		return err
	}
	s.recorder = t.Recorder(s.recorder)
	s.add(part{name: "sums of programs", after: true, run: t.Run})
	s.desk = &execution.Desk{Tally: t, Acts: s.store.Recorder, Learning: s.cfg.Fleet.Learning,
		Plan: func(found []export.Found) *export.Plan {
			return export.Make(s.rules.Policy(), s.rules.Catalog(), export.Options{Now: s.store.Clock.Now(), Enforce: true, Found: found})
		}}
	return nil
}

func (s *Server) gateway(g config.Gateway) error {
	p, err := s.withSpool(g, pipeline.Config{Connector: g.ID, Open: g.OnFailure == "open"}, pipeline.Deps{
		Directory: s.store.People, Inspection: s.rules, Policy: s.rules, Recorder: s.recorder, Objects: s.objects,
		Meter: s.meters, Health: s.board, Clock: s.store.Clock, Log: s.log})
	if err != nil {
		return err
	}
	gw, err := xmpp.New(xmpp.FromConfig(g, s.cfg.Path), xmpp.Deps{Judge: p, Log: s.log, Clock: s.store.Clock, Health: s.board})
	if err != nil {
		return err
	}
	var c connector.Connector = gw
	s.add(part{name: "gateway " + g.ID, ready: c.Ready(), run: c.Run})
	return nil
}

func (s *Server) resolver(c *config.Resolver) error {
	rewrite, err := rewrites(c)
	if err != nil {
		return fmt.Errorf("network.resolver: %w", err)
	}
	r, err := dns.New(dns.Config{Listen: c.Listen, Upstream: c.Upstream, Timeout: c.Timeout, Rewrite: rewrite, Rebind: c.RebindProtection, Answer: dns.Answer(c.Answer)},
		dns.Deps{Judge: s.rules.Question, Directory: s.store.People, Recorder: s.recorder, Observer: s.observer,
			Board: s.board, Log: s.log, Clock: s.store.Clock})
	if err != nil {
		return err
	}
	s.add(part{name: "resolver", ready: r.Ready(), run: r.Run})
	return nil
}

// sensors adds the interfaces and the logs of other programs that are listened to.
func (s *Server) sensors() error {
	d := sensors.Deps{Pair: s.rules.Pair, Policy: s.rules, Directory: s.store.People, Recorder: s.recorder, Observer: s.observer,
		Board: s.board, Clock: s.store.Clock, Log: s.log}
	for _, c := range s.cfg.Network.Sensors {
		s.add(part{name: "sensor " + c.Interface, run: sensors.Interface(c, d)})
	}
	logs, err := sensors.Logs(s.cfg.Network.Logs, s.cfg.Path, s.store.Dir, d)
	if err != nil {
		return fmt.Errorf("network.logs: %w", err)
	}
	for _, l := range logs {
		s.add(part{name: l.Name(), run: l.Run})
	}
	enforcers, err := sensors.Enforcers(s.cfg.Endpoint.Logs, s.cfg.Path, s.store.Dir, d)
	if err != nil {
		return fmt.Errorf("endpoint.logs: %w", err)
	}
	for _, l := range enforcers {
		s.add(part{name: l.Name(), run: l.Run})
	}
	return nil
}

func (s *Server) console() error {
	if s.store.Archive == nil {
		return errors.New("console.listen is set, but keys.unlock is not: the console could read nothing")
	}
	apps := map[string]string{}
	for _, a := range s.rules.Catalog().Apps() {
		apps[a.ID] = a.Name
	}
	var agents console.Fleet
	if s.agents != nil {
		agents = fleet.Pages{Server: s.agents}
	}
	c, err := console.New(console.Deps{Fleet: agents, Programs: execution.Pages{Desk: s.desk},
		Archive: s.store.Pages, Searcher: s.store.Searcher, Policy: s.rules.Policy, Try: s.rules.Try, Ledger: s.ledgerState, Verify: s.verifyNow, Holds: s.store.Holds,
		Files: &archive.Files{Reader: s.store.Journal, Opener: s.store.opener, Objects: s.objects},
		Board: s.board, Book: s.store.Book, Acts: s.store.Recorder, Purposes: s.cfg.Console.Purposes, Apps: apps, Clock: s.store.Clock, Log: s.log, Version: s.version})
	if err != nil {
		return err
	}
	cert, key := s.cfg.Path(s.cfg.Console.Certificate), s.cfg.Path(s.cfg.Console.Key)
	if cert == "" {
		host, _, err := net.SplitHostPort(s.cfg.Console.Listen)
		if err != nil {
			return err
		}
		if cert, key, err = certificate.SelfSigned(s.cfg.KeysDir(), "console", host); err != nil {
			return err
		}
	}
	return s.listen("console", s.cfg.Console.Listen, c.Handler(), cert, key, c.Stop)
}

func (s *Server) selfVerifier() *selfverify.Verifier {
	return selfverify.New(selfverify.Config{Dir: s.store.Dir, Keys: s.cfg.KeysDir(), State: filepath.Join(s.store.Dir, "state", "verified.json"), Every: s.cfg.Ledger.VerifyEvery,
		Record: s.store.Recorder, Board: s.board, Clock: s.store.Clock, Log: s.log})
}
