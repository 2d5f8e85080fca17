package identity

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// People is a Directory made of a table: a row binds handles, a host or an address to a person from one moment to another.
type People struct {
	handles map[string][]binding
	hosts   map[string][]binding
	ranges  []ranged // address ranges, the narrowest first
	people  map[string]*person
}

type binding struct {
	line     int
	from, to time.Time // half-open; zero for ever
	person   *person
	host     string
}

type ranged struct {
	prefix   netip.Prefix
	bindings []binding
}

type person struct {
	id, name string
	groups   []string
}

// Columns are those of the table, in any order; only person is required.
var columns = []string{"person", "name", "handle", "host", "address", "from", "to", "groups"}

const maxTable = 256 << 20

// mappedBits is the length of the prefix of IPv4 addresses in the form of IPv6.
const mappedBits = 96

// LoadPeople reads the table in a file.
func LoadPeople(path string) (*People, error) {
	f, err := outside.Open(path)
	if err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	defer f.Close()
	p, err := ParsePeople(f)
	if err != nil {
		return nil, fmt.Errorf("people: %s: %w", path, err)
	}
	return p, nil
}

// ParsePeople reads a table as CSV with a header line. Columns: person, name, handle, host, address (one, or a range in CIDR form), from, to
// (RFC 3339 or a day; from is included, to is not), groups (separated by semicolons). A handle, host or address that is bound to two people
// at one moment is an error that names both lines.
func ParsePeople(r io.Reader) (*People, error) {
	in := csv.NewReader(io.LimitReader(r, maxTable))
	in.TrimLeadingSpace = true
	in.Comment = '#'
	head, err := in.Read()
	if errors.Is(err, io.EOF) {
		return &People{}, nil
	}
	if err != nil {
		return nil, err
	}
	index, err := header(head)
	if err != nil {
		return nil, err
	}
	p := &People{handles: map[string][]binding{}, hosts: map[string][]binding{}}
	known := map[string]*person{}
	addresses := map[netip.Prefix][]binding{}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		line, _ := in.FieldPos(0)
		if err := p.row(index, row, line, known, addresses); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
	p.people = known
	return p, p.index(addresses)
}

func header(row []string) (map[string]int, error) {
	index := map[string]int{}
	for i, c := range row {
		c = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(c, "\ufeff")))
		if !slices.Contains(columns, c) {
			return nil, fmt.Errorf("column %q is not one of %s", c, strings.Join(columns, ", "))
		}
		if _, twice := index[c]; twice {
			return nil, fmt.Errorf("column %q comes twice", c)
		}
		index[c] = i
	}
	if _, ok := index["person"]; !ok {
		return nil, errors.New("there is no column person")
	}
	return index, nil
}

func (p *People) row(index map[string]int, row []string, line int, known map[string]*person, addresses map[netip.Prefix][]binding) error {
	get := func(name string) string {
		if i, ok := index[name]; ok && i < len(row) {
			return strings.TrimSpace(row[i])
		}
		return ""
	}
	id := get("person")
	if id == "" {
		return errors.New("person is empty")
	}
	who := known[id]
	if who == nil {
		who = &person{id: id}
		known[id] = who
	}
	if n := get("name"); n != "" {
		who.name = n
	}
	for g := range strings.SplitSeq(get("groups"), ";") {
		if g = strings.TrimSpace(g); g != "" && !slices.Contains(who.groups, g) {
			who.groups = append(who.groups, g)
		}
	}
	from, err := moment(get("from"))
	if err != nil {
		return fmt.Errorf("from: %w", err)
	}
	to, err := moment(get("to"))
	if err != nil {
		return fmt.Errorf("to: %w", err)
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return errors.New("from is not before to")
	}
	b := binding{line, from, to, who, get("host")}
	if h := strings.ToLower(get("handle")); h != "" {
		p.handles[h] = append(p.handles[h], b)
	}
	if h := strings.ToLower(b.host); h != "" {
		p.hosts[h] = append(p.hosts[h], b)
	}
	if a := get("address"); a != "" {
		prefix, err := parsePrefix(a)
		if err != nil {
			return err
		}
		addresses[prefix] = append(addresses[prefix], b)
	}
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return prefix, fmt.Errorf("address %q is neither an address nor a range", s)
	}
	if a := prefix.Addr(); a.Is4In6() && prefix.Bits() >= mappedBits { // IPv4 in the form of IPv6 (RFC 4291, section 2.5.5.2)
		prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-mappedBits)
	}
	return prefix.Masked(), nil
}

func moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return t, fmt.Errorf("%q is neither a day (2026-01-31) nor a time (2026-01-31T12:00:00Z)", s)
	}
	return t, nil
}

// index sorts all bindings and finds those that contradict each other.
func (p *People) index(addresses map[netip.Prefix][]binding) error {
	for prefix, list := range addresses {
		p.ranges = append(p.ranges, ranged{prefix, list})
	}
	slices.SortFunc(p.ranges, func(a, b ranged) int {
		if d := b.prefix.Bits() - a.prefix.Bits(); d != 0 {
			return d
		}
		return a.prefix.Addr().Compare(b.prefix.Addr())
	})
	var errs []error
	for name, list := range p.handles {
		errs = append(errs, distinct("handle "+name, list))
	}
	for name, list := range p.hosts {
		errs = append(errs, distinct("host "+name, list))
	}
	for _, r := range p.ranges {
		errs = append(errs, distinct("address "+r.prefix.String(), r.bindings))
	}
	return errors.Join(errs...)
}

func distinct(what string, list []binding) error {
	slices.SortStableFunc(list, func(a, b binding) int { return a.from.Compare(b.from) })
	for i := 1; i < len(list); i++ {
		for j := range i {
			a, b := list[j], list[i]
			if a.person != b.person && (a.to.IsZero() || b.from.Before(a.to)) {
				return fmt.Errorf("lines %d and %d: %s belongs to %s and %s at one time", a.line, b.line, what, a.person.id, b.person.id)
			}
		}
	}
	return nil
}

func at(list []binding, t time.Time) *binding {
	for i := range list {
		b := &list[i]
		if (b.from.IsZero() || !t.Before(b.from)) && (b.to.IsZero() || t.Before(b.to)) {
			return b
		}
	}
	return nil
}

// Len returns how many people there are.
func (p *People) Len() int { return len(p.people) }

// Groups implements Members.
func (p *People) Groups(id string) (groups []string, known bool) {
	x, known := p.people[id]
	if !known {
		return nil, false
	}
	return slices.Clone(x.groups), true
}

// Roll is told who there is.
type Roll interface {
	Person(id, name string)
	Handle(handle, name, person string)
	Host(name, address, person string)
}

// Enrol tells a roll of everybody in the table, whenever their bindings are in force. Ranges of addresses are nobody's name.
func (p *People) Enrol(r Roll) {
	for h, list := range p.handles {
		for _, b := range list {
			r.Handle(h, b.person.name, b.person.id)
		}
	}
	for h, list := range p.hosts {
		for _, b := range list {
			r.Person(b.person.id, b.person.name)
			r.Host(h, "", b.person.id)
		}
	}
	for _, x := range p.ranges {
		for _, b := range x.bindings {
			r.Person(b.person.id, b.person.name)
			if x.prefix.IsSingleIP() {
				r.Host(b.host, x.prefix.Addr().String(), b.person.id)
			}
		}
	}
}

// Party resolves a handle at a moment. Handles mean the same on every connector; "connector:handle" in the table means one of them only.
func (p *People) Party(connector, handle string, when time.Time) event.Party {
	out := event.Party{Handle: handle}
	key := strings.ToLower(handle)
	b := at(p.handles[strings.ToLower(connector)+":"+key], when)
	if b == nil {
		b = at(p.handles[key], when)
	}
	if b != nil {
		out.Person, out.Name, out.Groups = b.person.id, b.person.name, b.person.groups
	}
	return out
}

// Host resolves a machine at a moment, by its name or else by the narrowest range that holds its address.
func (p *People) Host(name, address string, when time.Time) event.Host {
	out := event.Host{Name: name, Address: address}
	b := at(p.hosts[strings.ToLower(name)], when)
	if b == nil {
		b = p.byAddress(address, when)
	}
	if b == nil {
		return out
	}
	out.Person = b.person.id
	if out.Name == "" {
		out.Name = b.host
	}
	return out
}

func (p *People) byAddress(address string, when time.Time) *binding {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return nil
	}
	a = a.Unmap().WithZone("") // a range contains no address with a zone
	for _, r := range p.ranges {
		if r.prefix.Contains(a) {
			if b := at(r.bindings, when); b != nil {
				return b
			}
		}
	}
	return nil
}

var (
	_ Directory = (*People)(nil)
	_ Members   = (*People)(nil)
)
