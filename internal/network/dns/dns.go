// Package dns is the filtering resolver: it asks policy about every question, answers what is allowed through upstream resolvers, and
// refuses the rest with a reason that the client can show (RFC 8914).
//
// A question goes: client allowed and within its rate → policy, by name, messenger, host and person → rewrite, cache or upstream → policy
// again for every alias in the answer, so that a stopped name cannot hide behind a CNAME → rebind protection → client. What policy stops is
// recorded, what it allows observed, both after the answer and through a bounded queue: an answer never waits for the journal, and what
// the queue cannot hold is counted and becomes a gap on record.
//
// Everything is bounded: packets, questions under way, cache, clients, TCP connections, time. When no upstream answers, clients get SERVFAIL
// with the reason within a few seconds, and the health item says so.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Answer is what a stopped question gets.
type Answer string

// The answers. Null gives 0.0.0.0 and ::, and no data for other types.
const (
	NXDomain Answer = "nxdomain"
	Null     Answer = "null"
	Refused  Answer = "refused"
)

// Config says how the resolver works. Zero values take the defaults named here.
type Config struct {
	Connector     string                // name of the resolver in events: "resolver"
	Listen        []string              // host:port, each for UDP and TCP
	Upstream      []string              // host:port of the resolvers that answer allowed questions, tried in order
	Timeout       time.Duration         // for one upstream: 2 s; a question gives up after twice that
	Answer        Answer                // NXDomain
	StopTTL       time.Duration         // how long clients may remember a stop: 30 s
	Rewrite       map[string]netip.Addr // names answered with a fixed address, when policy allows them
	Rebind        bool                  // drop answers that point a public name into a private network
	Internal      []string              // suffixes that may have private addresses all the same
	Clients       []netip.Prefix        // who may ask: everybody
	CacheEntries  int                   // 10,000; negative for none
	RatePerClient int                   // questions a second, bursts of twice that: 500; negative for no bound
	InFlight      int                   // questions under way to upstreams: 1,024
	TCPConns      int                   // 256, at most a quarter of them for one client
	QueueLen      int                   // stopped questions waiting for the journal: 4,096
}

// Deps is what the resolver works with. Recorder is required, and either Judge or Decider and Catalog.
type Deps struct {
	Judge     func(e *event.Event, now time.Time) // names the messenger of a question and decides; default by Catalog and Decider
	Decider   policy.Decider
	Catalog   *catalog.Catalog
	Directory identity.Directory
	Recorder  event.Recorder
	Observer  event.Observer
	Board     *health.Board
	Log       *slog.Logger
	Clock     clock.Clock
}

// Resolver answers DNS questions.
type Resolver struct {
	cfg      Config
	dep      Deps
	rewrite  map[string]netip.Addr
	internal []string
	upstream *upstreams
	cache    *cache
	flights  singleflight.Group
	limiter  *limiter
	keeper   *keeper
	slots    chan struct{} // questions under way
	stats    counters
	ready    chan struct{}
	addrs    []string // set before ready is closed
	started  atomic.Bool
}

// New checks the configuration and returns a resolver that Run starts.
func New(cfg Config, dep Deps) (*Resolver, error) {
	if dep.Judge == nil && dep.Decider != nil && dep.Catalog != nil {
		dep.Judge = func(e *event.Event, now time.Time) {
			Recognise(dep.Catalog, e)
			e.Verdict = dep.Decider.Decide(&policy.Input{Event: e, Now: now, Final: true})
		}
	}
	if dep.Judge == nil || dep.Recorder == nil {
		return nil, errors.New("resolver: decider, catalog and recorder are required")
	}
	if len(cfg.Listen) == 0 || len(cfg.Upstream) == 0 {
		return nil, errors.New("resolver: at least one listen address and one upstream are required")
	}
	for _, a := range slices.Concat(cfg.Listen, cfg.Upstream) {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return nil, fmt.Errorf("resolver: address %q: %w", a, err)
		}
	}
	cfg.setDefaults()
	if !slices.Contains([]Answer{NXDomain, Null, Refused}, cfg.Answer) {
		return nil, fmt.Errorf("resolver: answer is %q, must be nxdomain, null or refused", cfg.Answer)
	}
	if dep.Log == nil {
		dep.Log = slog.New(slog.DiscardHandler)
	}
	if dep.Clock == nil {
		dep.Clock = clock.System{}
	}
	r := &Resolver{
		cfg: cfg, dep: dep, rewrite: map[string]netip.Addr{},
		cache: newCache(cfg.CacheEntries), limiter: newLimiter(cfg.RatePerClient),
		slots: make(chan struct{}, cfg.InFlight), ready: make(chan struct{}),
	}
	for name, addr := range cfg.Rewrite {
		r.rewrite[foldName(name)] = addr.Unmap()
	}
	for _, suffix := range cfg.Internal {
		r.internal = append(r.internal, foldName(strings.TrimPrefix(suffix, "*.")))
	}
	r.upstream = newUpstreams(cfg.Upstream, cfg.Timeout, dep.Clock, r.upstreamHealth)
	r.keeper = newKeeper(cfg.Connector, cfg.QueueLen, &dep, &r.stats)
	return r, nil
}

func (c *Config) setDefaults() {
	defaults := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	defaults(&c.CacheEntries, 10_000)
	defaults(&c.RatePerClient, 500)
	defaults(&c.InFlight, 1024)
	defaults(&c.TCPConns, 256)
	defaults(&c.QueueLen, 4096)
	if c.Connector == "" {
		c.Connector = "resolver"
	}
	if c.Timeout <= 0 {
		c.Timeout = 2 * time.Second
	}
	if c.StopTTL <= 0 {
		c.StopTTL = 30 * time.Second
	}
	if c.Answer == "" {
		c.Answer = NXDomain
	}
}

// Run listens and answers until ctx ends, then waits for what is under way and for the journal.
func (r *Resolver) Run(ctx context.Context) error {
	if r.started.Swap(true) {
		return errors.New("resolver: runs already")
	}
	l, err := listen(r.cfg.Listen)
	if err != nil {
		r.set(health.Failed, err.Error(), "free the address, or change network.resolver.listen")
		return fmt.Errorf("resolver: %w", err)
	}
	r.addrs = l.addrs
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	var kept, serving sync.WaitGroup
	kept.Go(func() { r.keeper.run(keeping) })
	for _, conn := range l.udp {
		for range readersPerSocket {
			serving.Go(func() { r.serveUDP(ctx, conn, &serving) })
		}
	}
	for _, tcp := range l.tcp {
		serving.Go(func() { r.serveTCP(ctx, tcp, &serving) })
	}
	r.set(health.OK, "answers on "+strings.Join(r.addrs, ", "), "")
	r.dep.Log.InfoContext(ctx, "resolver started", "listen", r.addrs, "upstream", r.cfg.Upstream)
	close(r.ready)
	<-ctx.Done()
	l.close()
	serving.Wait()
	stopKeeping()
	kept.Wait()
	r.dep.Log.InfoContext(ctx, "resolver stopped")
	return nil
}

// Ready is closed when the resolver listens.
func (r *Resolver) Ready() <-chan struct{} { return r.ready }

// Addr returns the first address it listens on, "" before it is ready.
func (r *Resolver) Addr() string {
	select {
	case <-r.ready:
		return r.addrs[0]
	default:
		return ""
	}
}

func (r *Resolver) set(s health.State, detail, advice string) {
	if r.dep.Board != nil {
		r.dep.Board.Set("resolver", s, detail, advice)
	}
}

// upstreamHealth is told when the first answer fails everywhere, and when one works again.
func (r *Resolver) upstreamHealth(err error) {
	if err != nil {
		r.set(health.Degraded, "no upstream resolver answers: "+err.Error(), "check network.resolver.upstream and the way to it")
		r.dep.Log.Warn("no upstream resolver answers", "error", err)
		return
	}
	r.set(health.OK, "answers on "+strings.Join(r.addrs, ", "), "")
	r.dep.Log.Info("upstream resolvers answer again")
}
