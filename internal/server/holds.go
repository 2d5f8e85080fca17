package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/retention"
)

// HoldArgs are those of hold.place, hold.release and hold.list.
type HoldArgs struct {
	Sign
	Matter string            `json:"matter"`
	Reason string            `json:"reason"`
	Scopes []retention.Scope `json:"scopes"`
	DryRun bool              `json:"dry_run,omitempty"` // only say what it would cover
}

// HoldPlaced is an answer of hold.place, for each scope: what it covers of what is on record now.
type HoldPlaced struct {
	Type   string          `json:"type"` // always "hold"
	Matter string          `json:"matter"`
	Scope  retention.Scope `json:"scope"`  // as it was written
	Placed bool            `json:"placed"` // false in a dry run
	retention.Coverage
}

// previewed bounds how many records are looked at for one scope.
const previewed = 200_000

// holder returns who places and releases holds: counsel.
func (o *operations) holder(call *control.Call, s Sign) (string, error) {
	if o.store.Holds == nil {
		return "", errors.New("no compliance key is unlocked here (keys.unlock): holds cannot be read")
	}
	caller, err := o.caller(call, s)
	if err != nil {
		return "", err
	}
	if !caller.Has(control.Counsel) {
		return "", fmt.Errorf("hold: %w: it needs the role counsel", control.ErrForbidden)
	}
	return caller.Account, nil
}

// heldView returns the view in which counsel sees and names what is held. Without a purpose the reason of the hold is it.
func (o *operations) heldView(ctx context.Context, call *control.Call, a HoldArgs) (*archive.View, string, error) {
	by, err := o.holder(call, a.Sign)
	if err != nil {
		return nil, "", err
	}
	if a.Purpose == "" && strings.TrimSpace(a.Reason) == "" && a.Matter != "" {
		return nil, "", errors.New("hold: the reason is missing")
	}
	if strings.TrimSpace(a.Purpose) == "" {
		a.Purpose = a.Reason
	}
	v, err := o.store.Archive.Open(ctx, archive.Account{Name: by, Reads: true}, a.Purpose)
	return v, by, err
}

// holdPlace places holds, and answers with what each covers.
func (o *operations) holdPlace(ctx context.Context, call *control.Call, a HoldArgs) error {
	v, by, err := o.heldView(ctx, call, a)
	if err != nil {
		return err
	}
	matter, err := o.store.Holds.Matter(a.Matter, v.Text)
	switch {
	case errors.Is(err, retention.ErrNoMatter):
		matter = a.Matter // a new one
	case err != nil:
		return err
	}
	if a.DryRun {
		if err := v.Look(ctx, fmt.Sprintf("preview of holds for %s", a.Matter)); err != nil {
			return err
		}
	}
	scopes, err := o.targets(ctx, v, a.Scopes)
	if err == nil && !a.DryRun {
		err = o.store.Holds.Place(ctx, by, matter, a.Reason, scopes...)
	}
	if err != nil {
		return err
	}
	if err := o.placed(ctx, call, a, scopes); err != nil && !a.DryRun {
		return fmt.Errorf("the hold is in force; what it covers could not be counted: %w", err)
	} else if err != nil {
		return err
	}
	return nil
}

// placed answers with what each scope covers of what is on record.
func (o *operations) placed(ctx context.Context, call *control.Call, a HoldArgs, scopes []retention.Scope) error {
	if err := o.store.Projector.Sync(ctx); err != nil {
		return err
	}
	out := json.NewEncoder(call.Out)
	for i, s := range scopes {
		p, err := o.store.Holds.Preview(ctx, previewed, s)
		if err != nil {
			return err
		}
		if err := out.Encode(HoldPlaced{"hold", a.Matter, a.Scopes[i], !a.DryRun, p.Coverage()}); err != nil {
			return err
		}
	}
	return nil
}

// targets returns what is to be held, by real names where pseudonyms were written. Whom a name names is disclosed.
func (o *operations) targets(ctx context.Context, v *archive.View, written []retention.Scope) ([]retention.Scope, error) {
	out := slices.Clone(written)
	for i := range out {
		if out[i].Kind == retention.Room {
			continue
		}
		var err error
		if out[i].Name, err = v.Name(ctx, out[i].Name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (o *operations) holdRelease(ctx context.Context, call *control.Call, a HoldArgs) error {
	v, by, err := o.heldView(ctx, call, a)
	if err != nil {
		return err
	}
	matter, err := o.store.Holds.Matter(a.Matter, v.Text)
	if err != nil {
		return fmt.Errorf("release hold: %w", err)
	}
	return o.store.Holds.Release(ctx, by, matter, a.Reason)
}

// holdList lists the holds as the reader may see them. What they are for tells of people: the look is on record.
// Where the command line shows pseudonyms, that takes a purpose as all reading does; elsewhere the list is one.
func (o *operations) holdList(ctx context.Context, call *control.Call, a HoldArgs) error {
	stated := strings.TrimSpace(a.Purpose) != ""
	if !stated {
		a.Purpose = "the list of holds"
	}
	v, _, err := o.heldView(ctx, call, a)
	if err == nil && v.Veils() && !stated {
		err = archive.ErrNoPurpose
	}
	if err != nil {
		return err
	}
	if err := v.Look(ctx, "holds"); err != nil {
		return err
	}
	out := json.NewEncoder(call.Out)
	for _, h := range retention.Shown(v, o.store.Holds.List()) {
		if err := out.Encode(h); err != nil {
			return err
		}
	}
	return nil
}

// HostHeld is the answer of hold.host.
type HostHeld struct {
	Matter string `json:"matter"`
	Held   bool   `json:"held"`
}

// holdHost answers for a host, the person whose host it is, and the person whose local account is named beside it.
func (o *operations) holdHost(ctx context.Context, call *control.Call, host event.Host) error {
	var h HostHeld
	var err error
	if o.store.Holds != nil {
		h.Matter, h.Held, err = o.store.Holds.HostHeld(ctx, o.store.People.Host(host.Name, "", o.store.Clock.Now()))
		if err == nil && !h.Held && host.Person != "" {
			h.Matter, h.Held, err = o.store.Holds.PersonHeld(ctx, host.Person)
		}
	}
	if err != nil {
		return err
	}
	if h.Held { // who asks administers, and does not read
		h.Matter = o.store.Archive.Text(h.Matter)
	}
	return json.NewEncoder(call.Out).Encode(h)
}
