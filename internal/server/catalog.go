package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// Reload reads the policy file and the state of the catalogs again. When the policy is broken what is in force stays; when the catalog that
// should be in force is, the one before it does, else the built-in one, and health says so.
func (r *Rules) Reload() error {
	r.loading.Lock()
	defer r.loading.Unlock()
	next, err := r.read()
	if err != nil {
		return err
	}
	r.inForce.Store(next)
	return nil
}

// read reads the policy file and the state of the catalogs, and leaves what is in force.
func (r *Rules) read() (*inForce, error) {
	state, err := r.depot.Current()
	next := &inForce{state: state}
	if err != nil {
		next.trouble = err.Error()
	}
	before := r.inForce.Load()
	cat, serial, err := r.catalogInForce(next, before)
	if err != nil {
		return nil, err
	}
	set, err := rules.Load(r.path, cat)
	if err != nil {
		return nil, err
	}
	if err := checkRoutes(r.cfg, set.Policy); err != nil {
		return nil, err
	}
	next.pair = &rollout.Pair{First: &rollout.Side{Serial: serial, Set: set}, Group: r.group}
	r.second(next, before)
	next.runner = set.Runner(r.deadline, r.more...)
	return next, nil
}

// catalogInForce loads the catalog that should be in force, or what stands in for it.
func (r *Rules) catalogInForce(next, before *inForce) (*catalog.Catalog, uint64, error) {
	cat, info, err := r.depot.Load(next.state.InForce)
	if err == nil {
		next.info = info
		return cat, next.state.InForce, nil
	}
	next.trouble = err.Error()
	if before != nil {
		next.info = before.info
		return before.pair.First.Set.Catalog, before.pair.First.Serial, nil
	}
	cat, err = catalog.Default()
	return cat, 0, err
}

// second sets up what is asked beside: a catalog that is tried, or, for a while after a change, the one before.
func (r *Rules) second(next, before *inForce) {
	p, s := next.pair, next.state
	serial := s.Candidate
	switch {
	case s.Candidate != 0 && (s.Stage == rollout.Shadow || s.Stage == rollout.Canary):
		p.Stage = s.Stage
	case s.InForce == p.First.Serial && !s.Promoted.IsZero() && r.clock.Now().Sub(s.Promoted) < r.bounds.Window:
		serial = s.Previous
	default:
		return
	}
	cat, _, err := r.depot.Load(serial)
	if err == nil {
		var set *rules.Set
		if set, err = rules.Load(r.path, cat); err == nil {
			p.Second = &rollout.Side{Serial: serial, Set: set}
		}
	}
	if err != nil {
		next.trouble = err.Error()
		return
	}
	p.Tally = rollout.NewTally(r.clock.Now())
	if before != nil && before.pair.Second != nil && before.pair.Second.Serial == serial && before.pair.Stage == p.Stage {
		p.Tally = before.pair.Tally // the policy was reloaded, the trial goes on
	}
}

// CatalogStatus is the answer of catalog.status.
type CatalogStatus struct {
	rollout.State
	Version string          `json:"version"` // of the catalog in force
	Made    time.Time       `json:"made,omitzero"`
	Expires time.Time       `json:"expires,omitzero"`
	Kept    []uint64        `json:"kept,omitempty"`
	Trial   *rollout.Counts `json:"trial,omitempty"`    // what is tried, or watched after a change, against the other
	Breaks  []string        `json:"breaks,omitempty"`   // what the policy promises and the candidate stops
	Group   string          `json:"canary,omitempty"`   //
	Trouble string          `json:"trouble,omitempty"`  //
	BuiltIn bool            `json:"built_in,omitempty"` // the catalog in force is the program's own
}

// CatalogStatus says which catalog is in force and how the trial of another goes.
func (r *Rules) CatalogStatus(ctx context.Context) CatalogStatus {
	f := r.inForce.Load()
	out := CatalogStatus{State: f.state, Version: r.Catalog().Version(), Made: f.info.Created, Expires: f.info.Expires, Kept: r.depot.Kept(),
		Group: r.group, Trouble: f.trouble, BuiltIn: f.pair.First.Serial == 0}
	if f.pair.Second != nil {
		counts := f.pair.Tally.Counts()
		out.Trial = &counts
		if f.pair.Stage != rollout.None {
			out.Breaks = rollout.NewlyForbidden(ctx, f.pair.First, f.pair.Second)
		}
	}
	return out
}

// setCatalogHealth makes a health item of the catalog in force: its age, its expiry, what is tried and what was refused.
func (s *Server) setCatalogHealth() {
	f, now := s.rules.inForce.Load(), s.store.Clock.Now()
	text := f.state.BuiltIn()
	if n := f.pair.First.Serial; n != 0 {
		text = fmt.Sprintf("number %d, %d days old", n, int(now.Sub(f.info.Created).Hours()/24))
	}
	if f.state.Stage != rollout.None {
		text += fmt.Sprintf("; number %d is %s", f.state.Candidate, map[rollout.Stage]string{rollout.Fetched: "fetched", rollout.Shadow: "in shadow", rollout.Canary: "in canary"}[f.state.Stage])
	}
	stale := s.cfg.Catalog.Stale
	if stale <= 0 {
		stale = 180 * 24 * time.Hour
	}
	refused := f.state.Refused
	switch {
	case f.trouble != "":
		s.board.Set(catalogItem, health.Degraded, text+" is in force, because another cannot be: "+f.trouble, "chaperone catalog status says more; chaperone catalog rollback goes back.")
	case refused != nil && now.Sub(refused.Time) < 7*24*time.Hour:
		s.board.Set(catalogItem, health.Degraded, fmt.Sprintf("%s; number %d was refused or taken back: %s", text, refused.Serial, refused.Reason), "Ask who made it for another, then chaperone catalog fetch.")
	case f.pair.First.Serial != 0 && now.After(f.info.Expires):
		s.board.Set(catalogItem, health.Degraded, text+", expired on "+f.info.Expires.Format(time.DateOnly), "It stays in force. chaperone catalog fetch brings a newer one.")
	case f.pair.First.Serial != 0 && now.Sub(f.info.Created) > stale:
		s.board.Set(catalogItem, health.Degraded, text, "Messengers change. chaperone catalog fetch brings a newer one.")
	default:
		s.board.Set(catalogItem, health.OK, text, "")
	}
}

// catalogItem is the health item of the catalog of messengers.
const catalogItem = "catalog"

// catalogLook is how often a trial is looked at.
const catalogLook = time.Second

// watchCatalog asks the source for newer bundles, and takes a catalog back that stops what it must not.
func (s *Server) watchCatalog(ctx context.Context) error {
	interval := s.cfg.Catalog.Interval
	if interval <= 0 {
		interval = 24 * time.Hour
	}
	var asked time.Time
	var judged *rollout.Pair
	tick := time.NewTicker(catalogLook)
	defer tick.Stop()
	for {
		if now := s.store.Clock.Now(); s.cfg.Catalog.Source != "" && now.Sub(asked) >= interval {
			asked = now
			s.fetchCatalog(ctx)
		}
		judged = s.judgeTrial(ctx, judged)
		s.setCatalogHealth()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// fetchCatalog asks the source; what is new and good goes into shadow.
func (s *Server) fetchCatalog(ctx context.Context) {
	source := s.cfg.Catalog.Source
	if !rollout.IsAddress(source) {
		source = s.cfg.Path(source)
	}
	b, err := rollout.Fetch(ctx, source)
	if err == nil {
		err = s.rules.accept(ctx, s.store, "serve", b, true)
	}
	if err != nil && !errors.Is(err, rollout.ErrOld) && ctx.Err() == nil {
		s.log.Warn("catalog", "source", source, "error", err)
	}
}

// accept takes a bundle in, makes that an act, and stages it when nothing else is tried.
func (r *Rules) accept(ctx context.Context, store *Store, by string, b []byte, stage bool) error {
	now := r.clock.Now()
	info, err := r.depot.Accept(ctx, b, now)
	if err != nil {
		if !errors.Is(err, rollout.ErrOld) {
			err = errors.Join(err, catalogAct(ctx, store, by, "catalog.refuse", info.Serial, err.Error()), r.Reload())
		}
		return err
	}
	if err := catalogAct(ctx, store, by, "catalog.accept", info.Serial, "signed by "+fmt.Sprint(info.Signers)); err != nil {
		return err
	}
	if stage {
		_, err = r.depot.Stage(info.Serial, now, act(ctx, store, by, "catalog.stage", ""))
		if errors.Is(err, rollout.ErrWatched) { // it waits until the trial that goes on has ended
			err = nil
		}
	}
	return errors.Join(err, r.Reload())
}

// judgeTrial takes back what stops more than it may: a catalog that acts, for the canary group or within its first hour for all. What the policy
// spells out is asked once for each pair. It returns the pair that was judged.
func (s *Server) judgeTrial(ctx context.Context, judged *rollout.Pair) *rollout.Pair {
	f := s.rules.inForce.Load()
	p := f.pair
	if p.Second == nil || p.Stage == rollout.Shadow {
		return p
	}
	if p.Stage == rollout.None && s.store.Clock.Now().Sub(f.state.Promoted) >= s.rules.bounds.Window { // it has stood its test
		if err := s.rules.Reload(); err != nil {
			s.log.Error("catalog", "error", err)
		}
		return p
	}
	reason := s.rules.bounds.Exceeded(p.Tally.Counts())
	if reason == "" && p != judged {
		before, after := p.First, p.Second
		if p.Stage == rollout.None {
			before, after = after, before
		}
		if broken := rollout.NewlyForbidden(ctx, before, after); len(broken) > 0 {
			reason = "it stops what the policy allows: " + broken[0]
		}
	}
	if reason == "" {
		return p
	}
	if err := s.rules.rollback(ctx, s.store, "serve", -1, reason); err != nil {
		s.log.Error("take a catalog back", "error", err)
	}
	return p
}

// upgrade has the newest catalog in force after an upgrade of the program, and makes that an act.
func (r *Rules) upgrade(ctx context.Context, store *Store) error {
	if _, err := r.depot.Upgrade(r.clock.Now(), act(ctx, store, "serve", "catalog.upgrade", "the newest that is here, after an upgrade of the program")); err != nil {
		return err
	}
	return r.Reload()
}

// rollback goes back, and makes that an act.
func (r *Rules) rollback(ctx context.Context, store *Store, by string, to int64, reason string) error {
	if _, err := r.depot.Rollback(to, reason, r.clock.Now(), act(ctx, store, by, "catalog.rollback", reason)); err != nil {
		return err
	}
	return r.Reload()
}

// act returns what makes a change of the state an act, before it takes place.
func act(ctx context.Context, store *Store, by, action, detail string) func(before, after rollout.State) error {
	return func(before, after rollout.State) error {
		serial, to := after.Candidate, string(after.Stage)
		if after.Stage == rollout.None || action == "catalog.upgrade" {
			serial, to = after.InForce, "all"
		}
		detail := strings.TrimPrefix(to+"; "+detail, "; ")
		if action == "catalog.rollback" {
			serial = cmp.Or(before.Candidate, before.InForce)
		}
		return catalogAct(ctx, store, by, action, serial, strings.TrimSuffix(detail, "; "))
	}
}

// catalogAct records what was done with a catalog.
func catalogAct(ctx context.Context, store *Store, by, action string, serial uint64, detail string) error {
	return store.Recorder.Record(ctx, &event.Event{Kind: event.Act, Phase: action, Connector: "catalog", From: event.Party{Handle: by},
		Content: event.Content{Act: &event.ActDetail{Action: action, Object: fmt.Sprintf("catalog %d", serial), Details: []event.Fact{{Name: "detail", Value: detail}}}}})
}
