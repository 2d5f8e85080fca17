package archive

import (
	"net"
	"reflect"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// veil puts pseudonyms in the place of names. It copies what it changes. A string of a type that it does not know by name is a text: names
// that are known are found in it. So a field that is added to an event later is veiled before anybody has thought of it.
type veil struct {
	roll  *pseudonym.Roll
	shown func(pseudonym.Identity) bool
	own   []string // names of those who take part, looked for in the texts of this record
}

// kept are the fields that stay as they are: random ids, digests, words of a fixed list, and rooms.
var kept = map[reflect.Type][]string{
	reflect.TypeFor[event.Event]():        {"ID", "Kind", "Phase", "Connector", "Source", "Room", "Refers", "Reason"},
	reflect.TypeFor[event.Party]():        {"ID"},
	reflect.TypeFor[event.Host]():         {"ID"},
	reflect.TypeFor[event.Verdict]():      {"Action", "Policy"},
	reflect.TypeFor[event.Obligation]():   {"Kind"},
	reflect.TypeFor[event.File]():         {"Type", "SHA256", "Object", "Sealed"},
	reflect.TypeFor[event.Flow]():         {"Proto", "App", "Service", "JA4", "ALPN"},
	reflect.TypeFor[event.Question]():     {"Type", "App"},
	reflect.TypeFor[event.Web]():          {"Method", "App"},
	reflect.TypeFor[event.Program]():      {"App", "Form", "Format", "Version", "SHA256", "Media"},
	reflect.TypeFor[event.CallDetail]():   {"Media"},
	reflect.TypeFor[event.ActDetail]():    {"Action"},
	reflect.TypeFor[event.Hit]():          {"Inspector", "Version"},
	reflect.TypeFor[event.NotInspected](): {"Inspector", "Reason", "Version"},
	reflect.TypeFor[Record]():             {"Action", "Position"},
	reflect.TypeFor[Conversation]():       {"ID", "Connector", "Room"},
	reflect.TypeFor[Handle]():             {"ID", "Connector"},
	reflect.TypeFor[Host]():               {"ID"},
	reflect.TypeFor[Sighting]():           {"App", "Action"},
	reflect.TypeFor[journal.Position]():   {"Stream"},
}

// veiled returns a copy of what the record says in which nobody is named but those who are shown.
func veiled[T any](v *veil, what T) T {
	v.walk(reflect.ValueOf(&what).Elem())
	return what
}

// walk veils a value in place. Slices, maps and pointers are copied first.
func (v *veil) walk(x reflect.Value) {
	switch x.Kind() {
	case reflect.String:
		x.SetString(v.text(x.String()))
	case reflect.Pointer:
		if !x.IsNil() {
			c := reflect.New(x.Type().Elem())
			c.Elem().Set(x.Elem())
			x.Set(c)
			v.walk(c.Elem())
		}
	case reflect.Slice:
		v.slice(x)
	case reflect.Map:
		v.mapping(x)
	case reflect.Struct:
		v.structure(x)
	}
}

func (v *veil) slice(x reflect.Value) {
	if x.Type().Elem().Kind() == reflect.Uint8 { // original bytes and keys: names cannot be found in them
		x.SetZero()
		return
	}
	if x.Len() == 0 {
		return
	}
	c := reflect.MakeSlice(x.Type(), x.Len(), x.Len())
	reflect.Copy(c, x)
	x.Set(c)
	for i := range c.Len() {
		v.walk(c.Index(i))
	}
}

func (v *veil) mapping(x reflect.Value) {
	if x.Len() == 0 {
		return
	}
	c := reflect.MakeMapWithSize(x.Type(), x.Len())
	for it := x.MapRange(); it.Next(); {
		k, e := reflect.New(x.Type().Key()).Elem(), reflect.New(x.Type().Elem()).Elem()
		k.Set(it.Key())
		e.Set(it.Value())
		v.walk(k)
		v.walk(e)
		c.SetMapIndex(k, e)
	}
	x.Set(c)
}

func (v *veil) structure(x reflect.Value) {
	var done []string
	switch s := x.Addr().Interface().(type) {
	case *event.Event:
		if s.Kind == event.Act {
			done = []string{"From"} // the account that acted answers for it by name
		}
		defer v.takePart(s)()
		defer dropSpans(s, s.Text)
	case *event.Party:
		v.party(s)
		done = []string{"Handle", "Person", "Name"}
	case *event.Host:
		s.Name, s.Address, s.Person = v.host(s.Name), v.address(s.Address), v.person(s.Person)
		done = []string{"Name", "Address", "Person"}
	case *event.Flow:
		s.Client = v.endpoint(s.Client)
		done = []string{"Client"}
	case *event.Question:
		s.Client = v.endpoint(s.Client)
		done = []string{"Client"}
	case *event.Program:
		s.Owner = v.user(s.Owner)
		done = []string{"Owner"}
	case *Conversation:
		s.Handles = slices.Clone(s.Handles)
		for i, h := range s.Handles {
			s.Handles[i] = v.party1(event.Party{Handle: h}).Handle
		}
		done = []string{"Handles"}
	case *Handle:
		p := v.party1(event.Party{Handle: s.Handle, Person: s.Person, Name: s.Name})
		s.Handle, s.Person, s.Name = p.Handle, p.Person, p.Name
		done = []string{"Handle", "Person", "Name"}
	case *Host:
		s.Name, s.Address, s.Person = v.host(s.Name), v.address(s.Address), v.person(s.Person)
		done = []string{"Name", "Address", "Person"}
	case *Person:
		s.ID = v.person(s.ID)
		done = []string{"ID"}
	case *Sighting:
		s.Person = v.person(s.Person)
		done = []string{"Person"}
	}
	stay := kept[x.Type()]
	for i := range x.NumField() {
		f := x.Type().Field(i)
		if f.IsExported() && !slices.Contains(stay, f.Name) && !slices.Contains(done, f.Name) {
			v.walk(x.Field(i))
		}
	}
}

// takePart lets the names of everybody who takes part in an event be found in its texts, until the function that it returns is called.
func (v *veil) takePart(e *event.Event) func() {
	before := v.own
	v.roll.Event(e)
	for _, p := range pseudonym.Parties(e) {
		for _, name := range []string{p.Handle, p.Name} {
			if k := pseudonym.Own(name); len(k) >= minOwn && len(v.own) < maxOwn {
				v.own = append(v.own, k)
			}
		}
	}
	return func() { v.own = before }
}

// Bounds of the names that are looked for in the texts of one record only: their length and their number.
const (
	minOwn = 2
	maxOwn = 64
)

// dropSpans leaves out where hits were found in a text that has become another.
func dropSpans(e *event.Event, before string) {
	if e.Text == before {
		return
	}
	for i := range e.Hits {
		e.Hits[i].Spans = nil
	}
}

func (v *veil) text(s string) string { return v.roll.Hide(s, v.shown, v.own) }

// name returns a pseudonym, or the name of somebody who is shown.
func (v *veil) name(i pseudonym.Identity, name string) string {
	if name == "" || v.shown(i) {
		return name
	}
	return v.roll.Of(i, name)
}

func (v *veil) person(id string) string { return v.name(pseudonym.OfPerson(id), id) }

func (v *veil) host(name string) string { return v.name(pseudonym.OfHost(name), name) }

func (v *veil) address(a string) string { return v.name(pseudonym.OfAddress(a), a) }

// user veils who a file or program belongs to, but for what belongs to the system.
func (v *veil) user(name string) string {
	switch strings.ToLower(name) {
	case "", "root", "system", `nt authority\system`, "0":
		return name
	}
	return v.name(v.roll.OfUser(name), name)
}

// endpoint veils the address in ip or ip:port.
func (v *veil) endpoint(s string) string {
	ip, port, err := net.SplitHostPort(s)
	if err != nil {
		return v.address(s)
	}
	if hidden := v.address(ip); hidden != ip {
		return hidden + ":" + port
	}
	return s
}

func (v *veil) party(p *event.Party) { *p = v.party1(*p) }

// party1 veils who it is and what they are called. All the handles of a person have that person's pseudonym.
func (v *veil) party1(p event.Party) event.Party {
	who := v.roll.OfParty(p)
	if who.IsZero() || v.shown(who) {
		return p
	}
	named := p.Handle != "" && v.shown(pseudonym.OfOneHandle(p.Handle)) // the handle was named, the person behind it was not
	if p.Person != "" {
		p.Person = v.roll.Of(who, p.Person)
	}
	if p.Handle != "" && !named {
		p.Handle = v.roll.Of(who, p.Handle)
	}
	p.Name = ""
	return p
}
