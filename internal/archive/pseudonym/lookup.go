package pseudonym

import (
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Of returns the pseudonym of an identity, which from then on resolves.
func (r *Roll) Of(i Identity, name string) string {
	if i.IsZero() {
		return ""
	}
	r.mu.RLock()
	p, ok := r.given[i]
	r.mu.RUnlock()
	if ok {
		return p
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remember(i, name)
	return r.pseudonym(i)
}

// pseudonym returns the pseudonym of an identity, remembered or not.
func (r *Roll) pseudonym(i Identity) string {
	if p, ok := r.given[i]; ok {
		return p
	}
	return written(i.Kind, code(r.secret, i)[:r.short])
}

// Resolve returns whom a pseudonym stands for. Letters may be small, O and 0 are the same, so are I, L and 1.
func (r *Roll) Resolve(pseudonym string) (Identity, bool) {
	p := normal(pseudonym)
	r.mu.RLock()
	defer r.mu.RUnlock()
	if list := r.taken[p]; p != "" && len(list) == 1 {
		return list[0], true
	}
	return Identity{}, false
}

// Names returns the names that an identity is known by. The first is its id, which the record can be asked by.
func (r *Roll) Names(i Identity) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.names[i])
}

// OfParty returns who a party is: the person behind it, or else the handle.
func (r *Roll) OfParty(p event.Party) Identity {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.ofParty(p)
}

func (r *Roll) ofParty(p event.Party) Identity {
	if p.Person != "" {
		return identity(Person, p.Person)
	}
	k, _ := key(p.Handle)
	if n := r.needle[k]; n != nil && n.handle {
		if person, ok := n.person(); ok {
			return person
		}
	}
	return identity(Handle, p.Handle)
}

// OfHandle returns who is behind a handle.
func (r *Roll) OfHandle(handle string) Identity { return r.OfParty(event.Party{Handle: handle}) }

// OfUser returns who a user of an operating system is: whoever has that name, or else just a user.
func (r *Roll) OfUser(name string) Identity {
	r.mu.RLock()
	defer r.mu.RUnlock()
	name, _ = unescape(name)
	k, _ := key(name)
	if n := r.needle[k]; n != nil {
		if list := n.meant(k); len(list) == 1 {
			return list[0]
		}
	}
	return identity(User, name)
}

// OfPerson returns the identity of a person's id.
func OfPerson(id string) Identity { return identity(Person, id) }

// OfHost returns the identity of a host's name.
func OfHost(name string) Identity { return identity(Host, name) }

// OfAddress returns the identity of an address.
func OfAddress(address string) Identity { return identity(Address, address) }

// OfOneHandle returns the identity of a handle alone, whoever is behind it.
func OfOneHandle(handle string) Identity { return identity(Handle, handle) }

// person returns the one person whose handle this is.
func (n *needle) person() (Identity, bool) {
	var found []Identity
	for _, i := range n.strong {
		if i.Kind == Person {
			found = append(found, i)
		}
	}
	if len(found) == 1 {
		return found[0], true
	}
	return Identity{}, false
}

// meant returns whom somebody means who writes this name as a whole.
func (n *needle) meant(k string) []Identity {
	if n.handle {
		if p, ok := n.person(); ok {
			return []Identity{p}
		}
		return []Identity{{Handle, k}}
	}
	if len(n.strong) > 0 {
		return n.strong
	}
	return n.local
}

// Named returns whom a name names: a person's id or name for display, a handle, what stands before the @ of one that is one person's alone, a
// host, an address. Single words of a name for display name nobody.
func (r *Roll) Named(name string) []Identity {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, form := range []string{name, strings.ReplaceAll(name, "_", " ")} {
		k, _ := key(form)
		if n := r.needle[k]; n != nil {
			return slices.Clone(n.meant(k))
		}
	}
	return nil
}

// Hide returns a text in which the names that are known stand as pseudonyms, but those of identities that are shown. A name that several have
// is "[name]". Own are names that are looked for in this text though they are too common for every one.
func (r *Roll) Hide(text string, shown func(Identity) bool, own []string) string {
	if text == "" {
		return ""
	}
	var out strings.Builder
	done := 0
	for _, h := range homes(text) {
		out.WriteString(r.hideNames(text[done:h.start], shown, own))
		out.WriteString(r.hideUser(text[h.start:h.end], shown))
		done = h.end
	}
	if done == 0 {
		return r.hideNames(text, shown, own)
	}
	out.WriteString(r.hideNames(text[done:], shown, own))
	return out.String()
}

func (r *Roll) hideUser(name string, shown func(Identity) bool) string {
	who := r.OfUser(name)
	if shown(who) {
		return name
	}
	return r.Of(who, name)
}
