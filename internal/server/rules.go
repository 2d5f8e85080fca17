package server

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/malware"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/retention"
)

// Rules is the policy in force with the inspectors it asks for. Reload replaces both or neither.
type Rules struct {
	cfg      *config.Config
	path     string
	catalog  *catalog.Catalog
	more     []inspect.Inspector
	deadline time.Duration
	inForce  atomic.Pointer[inForce]
}

type inForce struct {
	set    *rules.Set
	runner *inspect.Runner
}

// LoadRules loads the policy of a configuration.
func LoadRules(c *config.Config) (*Rules, error) {
	cat, err := catalog.Default()
	if err != nil {
		return nil, err
	}
	r := &Rules{cfg: c, path: c.Path(c.Policy), catalog: cat, deadline: c.Inspectors.Deadline}
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

// Reload reads the policy file again. When it is broken the one in force stays.
func (r *Rules) Reload() error {
	next, err := r.read()
	if err != nil {
		return err
	}
	r.inForce.Store(next)
	return nil
}

// read reads the policy file and leaves what is in force.
func (r *Rules) read() (*inForce, error) {
	set, err := rules.Load(r.path, r.catalog)
	if err != nil {
		return nil, err
	}
	if err := checkRoutes(r.cfg, set.Policy); err != nil {
		return nil, err
	}
	return &inForce{set, set.Runner(r.deadline, r.more...)}, nil
}

// Policy returns the policy in force.
func (r *Rules) Policy() *policy.Policy { return r.inForce.Load().set.Policy }

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
