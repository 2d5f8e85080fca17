package policy

import (
	"net/netip"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
)

// group is a compiled Group.
type group struct {
	name     string
	people   []glob
	networks []netip.Prefix
	hosts    []glob
	mode     mode
}

// hasParty reports whether the party is a member, by the policy or by the directory.
func (g *group) hasParty(p *event.Party) bool {
	for _, name := range p.Groups {
		if name == g.name {
			return true
		}
	}
	for _, pattern := range g.people {
		if pattern.match(p.Person) || pattern.match(bare(p.Handle)) {
			return true
		}
	}
	return false
}

// has reports whether anybody or anything the event is about is a member: who sent or asked, whom it reaches, and the machine.
func (g *group) has(f *facts) bool {
	e := f.in.Event
	if g.hasParty(&e.From) || g.hasHost(f) {
		return true
	}
	if f.plane != conversation {
		return false
	}
	for i := range e.To {
		if g.hasParty(&e.To[i]) {
			return true
		}
	}
	for i := range e.Audience {
		if g.hasParty(&e.Audience[i]) {
			return true
		}
	}
	return false
}

func (g *group) hasHost(f *facts) bool {
	h := &f.in.Event.Host
	for _, n := range g.networks {
		if f.client.IsValid() && n.Contains(f.client) {
			return true
		}
	}
	for _, pattern := range g.hosts {
		if h.Name != "" && pattern.match(h.Name) {
			return true
		}
	}
	if h.Person != "" {
		for _, pattern := range g.people {
			if pattern.match(h.Person) {
				return true
			}
		}
	}
	return false
}

// bare cuts the resource off a handle: alice@example.org/phone is alice@example.org.
func bare(handle string) string {
	h, _, _ := strings.Cut(handle, "/")
	return h
}

// isInternal reports whether a handle belongs to the organisation.
func (p *Policy) isInternal(handle string) bool {
	h := strings.ToLower(bare(handle))
	if _, ok := p.internal[h]; ok {
		return true
	}
	if at := strings.LastIndexByte(h, '@'); at >= 0 {
		h = h[at+1:]
	}
	for h != "" {
		if _, ok := p.internal[h]; ok {
			return true
		}
		_, h, _ = strings.Cut(h, ".")
	}
	return false
}

// LeavesOrg reports whether the event reaches anybody outside the organisation: a recipient or a member of its audience other than its
// sender whose handle is not internal.
func (p *Policy) LeavesOrg(e *event.Event) bool {
	from := bare(e.From.Handle)
	for _, list := range [][]event.Party{e.To, e.Audience} {
		for i := range list {
			if h := bare(list[i].Handle); h != from && !p.isInternal(h) {
				return true
			}
		}
	}
	return false
}
