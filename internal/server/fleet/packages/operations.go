package packages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/release"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Machine is one of the fleet.
type Machine struct {
	ID, Name string
	Groups   []string
	Online   bool
	Update   *protocol.Update
}

// Fleet is what a shelf knows of the fleet.
type Fleet interface {
	Machines() []Machine
	FindHost(name string) (id string, err error)
	CheckGroup(name string) error
	Act(ctx context.Context, by, action, object string, details ...event.Fact) error
	Changed() // other machines are to have something than before
}

// Arguments of the operations.
type (
	// OfferArgs are those of fleet.releases.offer and fleet.releases.plan.
	OfferArgs struct {
		Note   []byte   `json:"note"`
		All    bool     `json:"all,omitempty"`
		Groups []string `json:"groups,omitempty"`
		Hosts  []string `json:"hosts,omitempty"` // ids or names
	}
	// WithdrawArgs are those of fleet.releases.withdraw.
	WithdrawArgs struct {
		ID     string `json:"id"`
		Reason string `json:"reason"`
	}
	// StatusArgs are those of fleet.releases.
	StatusArgs struct {
		ID string `json:"id,omitempty"` // one alone
	}
)

// Line is an offer with what machines say of it. Field names are API.
type Line struct {
	Type string `json:"type"` // "release"
	Offer
	Counts   map[string]int `json:"counts"`
	Machines []MachineLine  `json:"machines"`
}

// MachineLine is how one machine does with an offer.
type MachineLine struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Online  bool   `json:"online"`
	Version string `json:"version,omitempty"` // of its package
	State   string `json:"state"`
	Why     string `json:"why,omitempty"`
}

// Operations are what an administrator does with releases.
func (s *Shelf) Operations(f Fleet, now func() time.Time) control.Operations {
	admin := []control.Role{control.Administrator}
	d := desk{s, f, now}
	return control.Operations{
		control.With("fleet.releases.plan", admin, d.plan),
		control.With("fleet.releases.offer", admin, d.offer),
		control.With("fleet.releases.withdraw", admin, d.withdraw),
		control.With("fleet.releases", admin, d.status),
	}
}

// desk carries the operations out.
type desk struct {
	*Shelf
	fleet Fleet
	now   func() time.Time
}

// asked is the offer that somebody asks for.
func (d desk) asked(by string, a OfferArgs) (Offer, error) {
	m, signers, err := release.Peek(a.Note)
	if err != nil {
		return Offer{}, err
	}
	o := Offer{ID: release.ID(a.Note), Release: m, Signers: signers, All: a.All, Groups: a.Groups, By: by, At: d.now().UTC(), Note: a.Note}
	if !a.All && len(a.Groups)+len(a.Hosts) == 0 {
		return o, errors.New("nobody is named who is to have it: a group, a host, or all")
	}
	for _, g := range a.Groups {
		if err := d.fleet.CheckGroup(g); err != nil {
			return o, err
		}
	}
	for _, h := range a.Hosts {
		id, err := d.fleet.FindHost(h)
		if err != nil {
			return o, err
		}
		o.Hosts = append(o.Hosts, id)
	}
	return o, nil
}

// line says how machines do with an offer.
func (d desk) line(o Offer) Line {
	l := Line{Type: "release", Offer: o, Counts: map[string]int{}, Machines: []MachineLine{}}
	for _, m := range d.fleet.Machines() {
		if !o.covers(m.ID, m.Groups) {
			continue
		}
		x := MachineLine{ID: m.ID, Name: m.Name, Online: m.Online}
		x.State, x.Why = o.State(m.Update)
		if m.Update != nil {
			x.Version = m.Update.Version
		}
		l.Counts[x.State]++
		l.Machines = append(l.Machines, x)
	}
	return l
}

func (d desk) plan(_ context.Context, call *control.Call, a OfferArgs) error {
	o, err := d.asked(call.Caller.Account, a)
	if err != nil {
		return err
	}
	return json.NewEncoder(call.Out).Encode(d.line(o))
}

func (d desk) offer(ctx context.Context, call *control.Call, a OfferArgs) error {
	o, err := d.asked(call.Caller.Account, a)
	if err != nil {
		return err
	}
	if err := d.Put(o.Release, call.In); err != nil {
		return err
	}
	to := strings.Join(append(append([]string{}, o.Groups...), a.Hosts...), " ")
	if o.All {
		to = "all"
	}
	err = d.fleet.Act(ctx, o.By, "fleet.release.offer", release.Package+" "+o.Release.Version, event.Fact{Name: "release", Value: o.ID},
		event.Fact{Name: "sha256", Value: o.Release.SHA256}, event.Fact{Name: "to", Value: to})
	if err != nil {
		return err
	}
	if o, err = d.Set(o); err != nil {
		return err
	}
	d.fleet.Changed()
	return json.NewEncoder(call.Out).Encode(d.line(o))
}

func (d desk) withdraw(ctx context.Context, call *control.Call, a WithdrawArgs) error {
	o, err := d.Find(a.ID)
	if err != nil {
		return err
	}
	if strings.TrimSpace(a.Reason) == "" {
		return errors.New("a reason is needed")
	}
	err = d.fleet.Act(ctx, call.Caller.Account, "fleet.release.withdraw", release.Package+" "+o.Release.Version, event.Fact{Name: "release", Value: o.ID},
		event.Fact{Name: "reason", Value: a.Reason})
	if err != nil {
		return err
	}
	last := d.line(o)
	if err := d.Withdraw(o.ID); err != nil {
		return fmt.Errorf("withdraw: %w", err)
	}
	return json.NewEncoder(call.Out).Encode(last)
}

func (d desk) status(_ context.Context, call *control.Call, a StatusArgs) error {
	list := d.Offers()
	if a.ID != "" {
		o, err := d.Find(a.ID)
		if err != nil {
			return err
		}
		list = []Offer{o}
	}
	out := json.NewEncoder(call.Out)
	for _, o := range list {
		if err := out.Encode(d.line(o)); err != nil {
			return err
		}
	}
	return nil
}
