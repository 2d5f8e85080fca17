package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// Arguments of the operations on catalogs.
type (
	// CatalogStageArgs are those of catalog.stage; 0 is the newest bundle that is kept.
	CatalogStageArgs struct {
		Serial uint64 `json:"serial"`
	}
	// CatalogPromoteArgs are those of catalog.promote.
	CatalogPromoteArgs struct {
		All bool `json:"all"` // leave the canary group out
	}
	// CatalogRollbackArgs are those of catalog.rollback; -1 is what was in force before.
	CatalogRollbackArgs struct {
		To     int64  `json:"to"`
		Reason string `json:"reason"`
	}
)

// catalogOperations are what can be asked for about catalogs. Whoever administers may; none of them reads content.
func (o *operations) catalogOperations() control.Operations {
	admin := []control.Role{control.Administrator}
	return control.Operations{
		control.With("catalog.accept", admin, o.catalogAccept),
		control.With("catalog.stage", admin, o.catalogStage),
		control.With("catalog.promote", admin, o.catalogPromote),
		control.With("catalog.rollback", admin, o.catalogRollback),
		control.With("catalog.diff", []control.Role{control.Nobody}, o.catalogDiff),
		control.With("catalog.status", []control.Role{control.Nobody}, o.catalogStatus),
	}
}

// catalogAccept takes in the bundle that the call sends.
func (o *operations) catalogAccept(ctx context.Context, call *control.Call, _ struct{}) error {
	b, err := io.ReadAll(io.LimitReader(call.In, bundle.MaxSize+1))
	if err != nil {
		return fmt.Errorf("read the bundle: %w", err)
	}
	if err := o.rules.accept(ctx, o.store, call.Caller.Account, b, false); err != nil {
		return err
	}
	return o.catalogStatus(ctx, call, struct{}{})
}

func (o *operations) catalogStage(ctx context.Context, call *control.Call, a CatalogStageArgs) error {
	if _, err := o.rules.depot.Stage(a.Serial, o.rules.clock.Now(), act(ctx, o.store, call.Caller.Account, "catalog.stage", "")); err != nil {
		return err
	}
	return errors.Join(o.rules.Reload(), o.catalogStatus(ctx, call, struct{}{}))
}

// catalogPromote takes the candidate one stage on, unless it breaks what the policy promises.
func (o *operations) catalogPromote(ctx context.Context, call *control.Call, a CatalogPromoteArgs) error {
	if f := o.rules.inForce.Load(); f.pair.Second == nil && (f.state.Stage == rollout.Shadow || f.state.Stage == rollout.Canary) {
		return fmt.Errorf("catalog %d cannot be tried, so it is not taken into use: %s", f.state.Candidate, f.trouble)
	}
	if p := o.rules.Pair(); p.Stage != rollout.None && p.Second != nil {
		if broken := rollout.NewlyForbidden(ctx, p.First, p.Second); len(broken) > 0 {
			return fmt.Errorf("catalog %d stops what the policy allows: %v; it stays in %s", p.Second.Serial, broken, p.Stage)
		}
	}
	counts := ""
	if p := o.rules.Pair(); p.Second != nil {
		c := p.Tally.Counts()
		counts = fmt.Sprintf("of %d flows and questions %d were newly stopped, %d newly passed", c.Decided, c.Stopped, c.Passed)
	}
	_, err := o.rules.depot.Promote(o.rules.group != "" && !a.All, o.rules.clock.Now(), act(ctx, o.store, call.Caller.Account, "catalog.promote", counts))
	if err != nil {
		return err
	}
	return errors.Join(o.rules.Reload(), o.catalogStatus(ctx, call, struct{}{}))
}

func (o *operations) catalogRollback(ctx context.Context, call *control.Call, a CatalogRollbackArgs) error {
	if a.Reason == "" {
		return errors.New("catalog rollback: a reason is needed; it goes into the ledger")
	}
	return errors.Join(o.rules.rollback(ctx, o.store, call.Caller.Account, a.To, a.Reason), o.catalogStatus(ctx, call, struct{}{}))
}

func (o *operations) catalogStatus(ctx context.Context, call *control.Call, _ struct{}) error {
	s := o.rules.CatalogStatus(ctx)
	if !o.serves {
		s.Trial = nil // it begins when somebody serves, not when somebody asks
	}
	return json.NewEncoder(call.Out).Encode(s)
}

// catalogDiff decides what is on record, and what was only observed, anew by the bundle that the call sends, for those who may read.
func (o *operations) catalogDiff(ctx context.Context, call *control.Call, a ReplayArgs) error {
	b, err := io.ReadAll(io.LimitReader(call.In, bundle.MaxSize+1))
	if err != nil {
		return fmt.Errorf("read the bundle: %w", err)
	}
	_, files, err := bundle.Open(b, o.rules.keys)
	if err != nil {
		return err
	}
	c, err := catalog.Load(files)
	if err != nil {
		return err
	}
	set, err := rules.Load(o.rules.path, c)
	if err != nil {
		return err
	}
	other := &rollout.Side{Set: set}
	if err := o.diffObserved(ctx, call, a.Sign, other); err != nil {
		return err
	}
	again := func(_ context.Context, e *event.Event) event.Verdict {
		if e.Flow == nil && e.Question == nil && e.Program == nil {
			return e.Verdict
		}
		rollout.Reconsider(c, e)
		return set.Policy.Redecide(e)
	}
	return o.decideAnew(ctx, call, a, "catalog.diff", &replay{version: set.Policy.Version(), again: again})
}

// diffObserved writes a line for each observation that the other side would stop, or no more stop.
func (o *operations) diffObserved(ctx context.Context, call *control.Call, s Sign, other *rollout.Side) error {
	v, err := o.view(ctx, call, s)
	if err != nil {
		return err
	}
	out := json.NewEncoder(call.Out)
	seen := int64(0)
	for page := (archive.Page{Limit: archive.MaxLimit}); ; {
		part, err := v.Observations(ctx, archive.ObservedFilter{}, page)
		if err != nil {
			return err
		}
		for i := range part.Items {
			seen++
			if line, differs := rollout.Reobserve(&part.Items[i], other); differs {
				if err := out.Encode(line); err != nil {
					return err
				}
			}
		}
		if page.Cursor = part.Next; page.Cursor == "" {
			return out.Encode(rollout.ObservedDiffers{Type: "observation", Observed: seen})
		}
	}
}
