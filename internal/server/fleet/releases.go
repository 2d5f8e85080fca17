package fleet

import (
	"context"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/server/fleet/packages"
)

// offered is the fleet as releases of this program see it.
type offered struct{ s *Server }

// Machines implements packages.Fleet.
func (o offered) Machines() []packages.Machine {
	var out []packages.Machine
	for _, h := range o.s.roster.list(Approved) {
		out = append(out, packages.Machine{ID: h.ID, Name: h.Name, Groups: o.s.deps.Source.Groups(o.s.hostOf(h)), Online: h.Seen.Online, Update: h.Seen.Update})
	}
	return out
}

// FindHost implements packages.Fleet.
func (o offered) FindHost(name string) (string, error) {
	h, err := o.s.roster.find(name, Approved)
	return h.ID, err
}

// CheckGroup implements packages.Fleet.
func (o offered) CheckGroup(name string) error {
	return o.s.deps.Source.Check(Approval{Subject: OneGroup, Name: name, SHA256: strings.Repeat("0", 64), Reason: "release", Until: o.s.deps.Clock.Now().Add(time.Hour)})
}

// Act implements packages.Fleet.
func (o offered) Act(ctx context.Context, by, action, object string, details ...event.Fact) error {
	return o.s.act(ctx, by, action, object, details...)
}

// Changed implements packages.Fleet.
func (o offered) Changed() { o.s.pokeAll(hostFlag) }

// When a machine that has not decided about a release is offered it again on the same connection: one that is at it, or has no room for it, and one that
// was at another.
const (
	offerAgain = 10 * time.Minute
	offerSoon  = 10 * time.Second
)

// pushOffer offers a machine the release that it is to have. ss.mu is held.
func (ss *session) pushOffer() error {
	h, ok := ss.s.roster.get(ss.host)
	if !ok {
		return ErrUnknownHost
	}
	x, ok := ss.s.releases.For(h.ID, h.Seen.Update, func() []string { return ss.s.deps.Source.Groups(ss.s.hostOf(h)) })
	now, wait := ss.s.deps.Clock.Now(), offerSoon
	if ok && h.Seen.Update.Release == x.ID {
		wait = offerAgain
	}
	if !ok || x.ID == ss.offered && now.Sub(ss.offeredAt) < wait {
		return nil
	}
	ss.offered, ss.offeredAt = x.ID, now
	return ss.write(protocol.Frame(protocol.OfferFrame, x.Note))
}

// told notes how a machine does with releases.
func (ss *session) told(u *protocol.Update) {
	ss.s.roster.see(ss.host, func(h *Host) { h.Seen.At, h.Seen.Update = ss.s.deps.Clock.Now(), u })
	ss.poke(hostFlag) // what was decided makes room for the next
}
