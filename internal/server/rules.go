package server

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/malware"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// Rules is what decides: the policy in force, the catalog it names messengers by, the inspectors it asks for, and another catalog while that
// is tried. Reload replaces all or nothing.
type Rules struct {
	cfg      *config.Config
	path     string
	more     []inspect.Inspector
	deadline time.Duration
	keys     []string // that may sign catalogs
	depot    *rollout.Depot
	group    string // canary
	bounds   rollout.Bounds
	clock    clock.Clock
	loading  sync.Mutex // held from reading what is to be in force to having it in force
	inForce  atomic.Pointer[inForce]
}

type inForce struct {
	pair    *rollout.Pair
	state   rollout.State
	info    bundle.Info // of the catalog in force
	trouble string      // why the catalog in force is not the one that should be
	runner  *inspect.Runner
}

// LoadRules loads the policy of a configuration.
func LoadRules(c *config.Config) (*Rules, error) {
	r := &Rules{cfg: c, path: c.Path(c.Policy), deadline: c.Inspectors.Deadline, keys: c.Catalog.Keys, depot: rollout.OpenDepot(c.Data(), c.Catalog.Keys), group: c.Catalog.Canary,
		bounds: rollout.Bounds{Share: c.Catalog.MaxStops}.Defaults(), clock: clock.System{}}
	if r.deadline <= 0 {
		r.deadline = 5 * time.Second
	}
	if m := c.Inspectors.Malware; m != nil {
		scanner, err := malware.New(m.Clamd)
		if err != nil {
			return nil, fmt.Errorf("inspectors.malware: %w", err)
		}
		r.more = append(r.more, scanner)
	}
	return r, r.Reload()
}

// Policy returns the policy in force.
func (r *Rules) Policy() *policy.Policy { return r.Pair().First.Set.Policy }

// Catalog returns the catalog in force.
func (r *Rules) Catalog() *catalog.Catalog { return r.Pair().First.Set.Catalog }

// Pair returns what is in force and what is tried.
func (r *Rules) Pair() *rollout.Pair { return r.inForce.Load().pair }

// Question names the messenger of a question and decides.
func (r *Rules) Question(e *event.Event, now time.Time) { r.Pair().Question(e, now) }

// Decide implements policy.Decider.
func (r *Rules) Decide(in *policy.Input) event.Verdict { return r.Policy().Decide(in) }

// Run looks into items with all inspectors of the policy in force.
func (r *Rules) Run(ctx context.Context, items ...*inspect.Item) inspect.Result {
	return r.inForce.Load().runner.Run(ctx, items...)
}

// Try inspects a text for a question about policy; nothing is recorded or delivered.
func (r *Rules) Try(ctx context.Context, e *event.Event) error {
	if e.Text == "" {
		return nil
	}
	found := r.Run(ctx, &inspect.Item{Text: e.Text})
	e.Hits, e.NotChecked = found.Hits, found.NotInspected
	return ctx.Err()
}

// Class returns the retention class of an event by the policy in force.
func (r *Rules) Class(e *event.Event) (retention.Class, bool) {
	c, ok := r.Policy().RetentionOf(e)
	return retention.Class{ID: c.ID, Days: c.Days, Request: c.Erasable == "request"}, ok
}
