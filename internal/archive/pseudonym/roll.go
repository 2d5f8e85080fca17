package pseudonym

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Bounds of what a Roll remembers. Beyond, pseudonyms are still given, but not resolved, and the names not found in texts.
const (
	maxIdentities = 1 << 20
	maxNames      = 32 // of one identity
)

// Roll knows who there is: it gives pseudonyms, resolves them, and finds names in texts. It is safe for concurrent use.
type Roll struct {
	secret []byte
	short  int // characters of the short form

	mu     sync.RWMutex
	given  map[Identity]string   // pseudonyms
	taken  map[string][]Identity // by the short form; more than one have long ones
	names  map[Identity][]string // as written, the first is the one to ask by
	needle map[string]*needle    // by key
	begins map[string]int        // by first word: the most words of a needle that begins so
	looks  map[string]string     // by what a key looks like, when that is another: the key

	addresses map[netip.Addr]string // the keys of addresses that are looked for
}

// needle is a name that is looked for in texts.
type needle struct {
	strong []Identity // whose whole name it is
	local  []Identity // people whose handle begins so, before the @
	words  []Identity // people of whose name for display it is one word
	handle bool       // it is a handle: bound to more than one person it is neither's
	small  bool       // one of the words is looked for in small letters too
	every  bool       // looked for in every text, else only in those of records that its bearer takes part in
}

// New returns a Roll that knows nobody. The key is what pseudonyms are made under.
func New(key []byte) *Roll {
	return &Roll{secret: slices.Clone(key), short: shortForm, given: map[Identity]string{}, taken: map[string][]Identity{}, names: map[Identity][]string{},
		needle: map[string]*needle{}, begins: map[string]int{}, looks: map[string]string{}, addresses: map[netip.Addr]string{}}
}

// Person learns of a person, by id and by name for display.
func (r *Roll) Person(id, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.person(id, name)
}

// Handle learns of a handle, with its name for display and the person behind it, both "" when unknown.
func (r *Roll) Handle(handle, name, person string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handle(handle, name, person)
}

// Host learns of a machine.
func (r *Roll) Host(name, address, person string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.host(name, address, person)
}

// Event learns of everybody who takes part in an event.
func (r *Roll) Event(e *event.Event) {
	parties := Parties(e)
	r.mu.RLock()
	known := !slices.ContainsFunc(parties, func(p event.Party) bool { return !r.knows(p) }) && r.knowsHost(e.Host)
	r.mu.RUnlock()
	if known {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range parties {
		r.handle(p.Handle, p.Name, p.Person)
	}
	r.host(e.Host.Name, e.Host.Address, e.Host.Person)
}

// Parties are all those who take part in an event. The account that did an act is none of them.
func Parties(e *event.Event) []event.Party {
	var out []event.Party
	if e.Kind != event.Act {
		out = append(out, e.From)
	}
	out = append(append(out, e.To...), e.Audience...)
	if e.CallDetail != nil {
		out = append(out, e.CallDetail.Parties...)
	}
	return out
}

// knows reports whether learning of a party would change nothing.
func (r *Roll) knows(p event.Party) bool {
	k, _ := key(p.Handle)
	n := r.needle[k]
	if k != "" && (n == nil || !n.handle || p.Person != "" && !slices.Contains(n.strong, identity(Person, p.Person))) {
		return false
	}
	who := r.ofParty(p)
	return who.IsZero() || slices.Contains(r.names[who], p.Name) || p.Name == ""
}

func (r *Roll) knowsHost(h event.Host) bool {
	for k, name := range map[Kind]string{Host: h.Name, Address: h.Address, Person: h.Person} {
		if _, ok := r.given[identity(k, name)]; name != "" && !ok {
			return false
		}
	}
	return true
}

func identity(k Kind, name string) Identity {
	if name == "" {
		return Identity{}
	}
	if k == Address {
		if a, err := netip.ParseAddr(name); err == nil {
			name = a.Unmap().String()
		}
	}
	if f, _ := key(name); f != "" {
		return Identity{k, f}
	}
	return Identity{k, name}
}

func (r *Roll) person(id, name string) Identity {
	who := r.remember(identity(Person, id), id)
	if who.IsZero() {
		return who
	}
	r.strong(who, id, true)
	if name != "" && name != id {
		r.alias(who, name)
		r.strong(who, name, true)
		r.words(who, name)
	}
	return who
}

// words adds the single words of a person's name for display, and these with what stands for a space in names of files, or nothing.
func (r *Roll) words(who Identity, name string) {
	_, words := key(name)
	for _, w := range words {
		letters := utf8.RuneCountInString(w)
		if letters < minName || strings.IndexFunc(w, unicode.IsDigit) >= 0 {
			continue
		}
		n := r.needleOf(w)
		n.words = add(n.words, who)
		n.small = letters >= minSmall && !everyday(w)
	}
	r.joined(who, words)
}

// joined adds the words of a name with what stands for a space between them, and with nothing.
func (r *Roll) joined(who Identity, words []string) {
	if len(words) < 2 {
		return
	}
	r.strong(who, strings.Join(words, " "), true)
	if glued := strings.Join(words, ""); len(glued) >= minGlued {
		r.strong(who, glued, true)
	}
}

func (r *Roll) handle(handle, name, person string) {
	if handle == "" {
		r.person(person, name)
		return
	}
	who := r.person(person, name)
	if who.IsZero() {
		who = r.remember(identity(Handle, handle), handle)
		r.strong(Identity{}, handle, false).handle = true
		if name != "" {
			r.alias(who, name)
			r.strong(who, name, false)
		}
		return
	}
	r.alias(who, handle)
	r.strong(who, handle, true).handle = true
	if local, _, ok := strings.Cut(handle, "@"); ok && !role(local) {
		k, words := key(local)
		forms := []string{k, strings.Join(words, " ")}
		if glued := strings.Join(words, ""); len(glued) >= minGlued {
			forms = append(forms, glued)
		}
		for _, form := range forms {
			n := r.needleOf(form)
			n.local = add(n.local, who)
			n.every = n.every || telling(k, words)
		}
	}
}

func (r *Roll) host(name, address, person string) {
	r.person(person, "")
	if name != "" {
		who := r.remember(identity(Host, name), name)
		r.strong(who, name, true)
		if _, err := netip.ParseAddr(name); err != nil {
			first, _, whole := strings.Cut(name, ".")
			if whole {
				r.strong(who, first, true)
			}
			_, words := key(first)
			r.joined(who, words)
		}
	}
	if address != "" {
		who := r.remember(identity(Address, address), address)
		r.strong(who, who.Name, true)
		r.strong(who, address, true)
		if a, err := netip.ParseAddr(address); err == nil && len(r.addresses) < maxIdentities {
			r.addresses[a.Unmap()] = who.Name
		}
	}
}

// role reports whether what stands before the @ of a handle is that of a function (RFC 2142) and no name.
func role(local string) bool {
	switch strings.ToLower(local) {
	case "abuse", "admin", "administrator", "compliance", "contact", "desk", "help", "helpdesk", "hostmaster", "info", "legal", "mail", "marketing", "noc", "office",
		"postmaster", "root", "sales", "security", "support", "team", "test", "webmaster":
		return true
	}
	return false
}

// Names shorter than these, in characters, are not looked for in texts: of letters, of digits alone.
const (
	minName   = 3
	minDigits = 4
	minSmall  = 4 // one word of a name for display, in small letters
	minGlued  = 6 // the words of one without anything between
)

// telling reports whether a name is long enough to be looked for in every text.
func telling(k string, words []string) bool {
	n := utf8.RuneCountInString(k)
	digits := strings.IndexFunc(k, func(c rune) bool { return c < '0' || c > '9' }) < 0
	return n >= minName && !digits || n >= minDigits || len(words) > 1
}

// strong adds a whole name of an identity. One word of somebody whom no directory knows is not looked for in every text: who calls
// themselves "the" would make all of them unreadable.
func (r *Roll) strong(who Identity, name string, known bool) *needle {
	k, words := key(name)
	n := r.needleOf(k)
	if !who.IsZero() {
		n.strong = add(n.strong, who)
	}
	n.every = n.every || telling(k, words) && (known || len(words) > 1)
	return n
}

func (r *Roll) needleOf(k string) *needle {
	if n, ok := r.needle[k]; ok {
		return n
	}
	n := &needle{}
	if k == "" || len(r.needle) >= 4*maxIdentities {
		return n
	}
	r.needle[k] = n
	_, words := key(k)
	r.begins[words[0]] = max(r.begins[words[0]], len(words))
	if look := looksLike(k); look != k {
		if other, ok := r.looks[look]; !ok || k < other {
			r.looks[look] = k
		}
		first, _ := token(look, 0)
		r.begins[look[:first]] = max(r.begins[look[:first]], len(words))
	}
	return n
}

func add(list []Identity, i Identity) []Identity {
	if slices.Contains(list, i) || len(list) >= maxNames {
		return list
	}
	return append(list, i)
}

// remember gives an identity its pseudonym.
func (r *Roll) remember(i Identity, name string) Identity {
	if _, ok := r.given[i]; ok || i.IsZero() || len(r.given) >= maxIdentities {
		return i
	}
	c := code(r.secret, i)
	short := written(i.Kind, c[:r.short])
	r.taken[short] = append(r.taken[short], i)
	for _, other := range r.taken[short] {
		r.given[other] = short
		if len(r.taken[short]) > 1 {
			long := written(other.Kind, code(r.secret, other))
			r.given[other], r.taken[long] = long, []Identity{other}
		}
	}
	r.alias(i, name)
	return i
}

func (r *Roll) alias(i Identity, name string) {
	if _, known := r.given[i]; known && len(r.names[i]) < maxNames && !slices.Contains(r.names[i], name) {
		r.names[i] = append(r.names[i], name)
	}
}
