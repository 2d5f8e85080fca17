package archive

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// person gathers who stands behind a name: a person's id, a handle, a host's name, an address, or an id of one of them.
func (v *View) person(ctx context.Context, who string) (Person, error) {
	handles, err := v.archive.driver.Catalogue.Handles(ctx, who)
	if err != nil {
		return Person{}, err
	}
	hosts, err := v.archive.driver.Catalogue.Hosts(ctx, who)
	if err != nil {
		return Person{}, err
	}
	p := Person{ID: soleOwner(handles, hosts)}
	if p.ID != "" && !strings.EqualFold(p.ID, who) { // who named one of their handles or hosts: take the others too
		if handles, err = v.archive.driver.Catalogue.Handles(ctx, p.ID); err != nil {
			return Person{}, err
		}
		if hosts, err = v.archive.driver.Catalogue.Hosts(ctx, p.ID); err != nil {
			return Person{}, err
		}
	}
	for _, h := range handles {
		p.addHandle(h)
	}
	for _, h := range hosts {
		p.addHost(h)
	}
	return p, nil
}

// soleOwner returns the one person behind all of these, "" when there is none or more than one.
func soleOwner(handles []Handle, hosts []Host) string {
	owner := ""
	for _, h := range handles {
		if h.Person != "" && owner != "" && h.Person != owner {
			return ""
		}
		owner = cmp.Or(owner, h.Person)
	}
	for _, h := range hosts {
		if h.Person != "" && owner != "" && h.Person != owner {
			return ""
		}
		owner = cmp.Or(owner, h.Person)
	}
	return owner
}

func (p *Person) addHandle(h Handle) {
	p.Handles = append(p.Handles, h)
	p.span(h.First, h.Last, h.Records)
}

func (p *Person) addHost(h Host) {
	p.Hosts = append(p.Hosts, h)
	p.span(h.First, h.Last, h.Records)
}

// names lists what the person's records can be found by.
func (p *Person) names() []string {
	var out []string
	for _, h := range p.Handles {
		out = append(out, h.ID)
	}
	for _, h := range p.Hosts {
		out = append(out, h.ID)
	}
	if p.ID != "" {
		out = append(out, p.ID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// concerns reports whether a record found by one of the person's names is theirs: not when it is bound to somebody else, as after a handle
// or a host changed hands, unless it was found by the very name that was asked for.
func (p *Person) concerns(who string, r Record) bool {
	if p.ID == "" || r.Erased || r.KeyLost || !strings.EqualFold(who, p.ID) {
		return true
	}
	e := r.Event
	for _, party := range append([]event.Party{e.From}, e.To...) {
		if party.Person == p.ID || party.Person == "" && slices.ContainsFunc(p.Handles, func(h Handle) bool { return h.ID == party.ID && party.ID != "" }) {
			return true
		}
	}
	return e.Host.Person == p.ID || e.Host.Person == "" && slices.ContainsFunc(p.Hosts, func(h Host) bool { return h.ID == e.Host.ID && h.ID != "" })
}

// gather makes people of handles and hosts.
func gather(handles []Handle, hosts []Host) []Person {
	byID := map[string]*Person{}
	var strangers []Person
	of := func(id string) *Person {
		p, ok := byID[id]
		if !ok {
			p = &Person{ID: id}
			byID[id] = p
		}
		return p
	}
	for _, h := range handles {
		if h.Person == "" {
			p := Person{}
			p.addHandle(h)
			strangers = append(strangers, p)
			continue
		}
		of(h.Person).addHandle(h)
	}
	for _, h := range hosts {
		if h.Person != "" {
			of(h.Person).addHost(h)
		}
	}
	var out []Person
	for _, p := range byID {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Person) int { return cmp.Compare(a.ID, b.ID) })
	return append(out, strangers...)
}

func (p *Person) span(first, last time.Time, records int) {
	if p.First.IsZero() || first.Before(p.First) {
		p.First = first
	}
	if last.After(p.Last) {
		p.Last = last
	}
	p.Records += records
}
