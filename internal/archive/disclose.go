package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/event"
)

// ActDisclose is the act that a reader learned whom a pseudonym stands for.
const ActDisclose = "identity.disclose"

// ErrNoPseudonyms says that an archive gives none.
var ErrNoPseudonyms = errors.New("there are no pseudonyms here")

// Disclosed is who a pseudonym stands for.
type Disclosed struct {
	Pseudonym string         `json:"pseudonym"`
	Kind      pseudonym.Kind `json:"kind"`
	Names     []string       `json:"names"` // the first is the id
}

// WithPseudonyms returns the same archive whose views resolve pseudonyms, and with veil show them in the place of names.
func (a *Archive) WithPseudonyms(roll *pseudonym.Roll, veil bool) *Archive {
	b := *a
	b.roll, b.veil = roll, veil
	return &b
}

// Enrol tells a roll of everybody that the archive has seen. It reads names, and gives none of them to anybody.
func (a *Archive) Enrol(ctx context.Context, roll *pseudonym.Roll) error {
	handles, err := a.driver.Catalogue.Handles(ctx, "")
	if err != nil {
		return fmt.Errorf("pseudonyms: %w", err)
	}
	for _, h := range handles {
		roll.Handle(h.Handle, h.Name, h.Person)
	}
	hosts, err := a.driver.Catalogue.Hosts(ctx, "")
	if err != nil {
		return fmt.Errorf("pseudonyms: %w", err)
	}
	for _, h := range hosts {
		roll.Host(h.Name, h.Address, h.Person)
	}
	return nil
}

// Enrolled is a projection that tells a roll of everybody in what is applied.
func Enrolled(p Projection, roll *pseudonym.Roll) Projection { return enrolled{p, roll} }

type enrolled struct {
	Projection
	roll *pseudonym.Roll
}

// Renew implements Renewer where the projection does; else it empties it.
func (p enrolled) Renew(ctx context.Context, fill func(Projection) error) error {
	beside, ok := p.Projection.(Renewer)
	if !ok {
		return p.Reset(ctx)
	}
	return beside.Renew(ctx, func(fresh Projection) error { return fill(enrolled{fresh, p.roll}) })
}

// Apply tells the roll first: nobody is to be read of whom it does not know.
func (p enrolled) Apply(ctx context.Context, entries []Entry) error {
	for i := range entries {
		if e := entries[i].Event; e != nil {
			p.roll.Event(e)
		}
	}
	return p.Projection.Apply(ctx, entries)
}

// Veils reports whether the view shows pseudonyms in the place of names.
func (v *View) Veils() bool { return v.archive.veil && v.archive.roll != nil }

// Veil returns a record as this view shows it. The methods of View have done it; packages that give content from elsewhere call it.
func (v *View) Veil(r Record) Record { return lift(v, r) }

// lift returns what the view shows of something: the thing itself, or a copy under the veil.
func lift[T any](v *View, what T) T {
	if !v.Veils() {
		return what
	}
	return veiled(&veil{roll: v.archive.roll, shown: v.shows}, what)
}

// shuffle puts lists that were in the order of names into that of what is shown in their place: the order of pseudonyms would tell of names.
func (v *View) shuffle(handles []string, hosts []Host, people []Person) {
	if !v.Veils() {
		return
	}
	slices.Sort(handles)
	slices.SortFunc(hosts, func(a, b Host) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Person, b.Person))
	})
	for _, p := range people {
		slices.SortFunc(p.Handles, func(a, b Handle) int {
			return cmp.Or(cmp.Compare(a.Handle, b.Handle), cmp.Compare(a.Connector, b.Connector))
		})
	}
	stranger := func(p Person) string { // without an id: last, by the one handle
		if p.ID == "" && len(p.Handles) > 0 {
			return "~" + p.Handles[0].Handle
		}
		return p.ID
	}
	slices.SortFunc(people, func(a, b Person) int { return cmp.Compare(stranger(a), stranger(b)) })
}

// Text returns a text as this view shows it.
func (v *View) Text(s string) string { return lift(v, s) }

// Text returns a text as it is shown to somebody to whom nobody was named: for what is said outside any view, as in a refusal.
func (a *Archive) Text(s string) string { return (&View{archive: a}).Text(s) }

// Shown returns what this view calls an identity: its name or its pseudonym.
func (v *View) Shown(i pseudonym.Identity, name string) string {
	if !v.Veils() || i.IsZero() || v.shows(i) {
		return name
	}
	return v.archive.roll.Of(i, name)
}

func (v *View) shows(i pseudonym.Identity) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known[i]
}

// Resolve returns the names of whom a pseudonym stands for, nil when it is none. It is for asking the record, not for showing.
func (v *View) Resolve(name string) (names []string, kind pseudonym.Kind) {
	if v.archive.roll == nil {
		return nil, ""
	}
	who, ok := v.archive.roll.Resolve(name)
	if !ok {
		return nil, ""
	}
	return v.archive.roll.Names(who), who.Kind
}

// Pseudonym returns the one form of a pseudonym that somebody typed, or the name when this view shows it; "" when it is none.
func (v *View) Pseudonym(typed string) string {
	if v.archive.roll == nil {
		return ""
	}
	who, ok := v.archive.roll.Resolve(typed)
	if !ok {
		return ""
	}
	name := ""
	if names := v.archive.roll.Names(who); len(names) > 0 {
		name = names[0]
	}
	return v.Shown(who, name)
}

// Name takes a name that the reader put into a question, and returns the one to ask the record by. A pseudonym stays one for the reader. A
// name that is known is disclosed: whom a reader names, the reader knows. That is on record first.
func (v *View) Name(ctx context.Context, name string) (string, error) {
	if names, _ := v.Resolve(name); len(names) > 0 {
		return names[0], nil
	}
	if !v.Veils() || strings.TrimSpace(name) == "" {
		return name, nil
	}
	for _, who := range v.archive.roll.Named(name) {
		if err := v.disclose(ctx, who, v.purpose); err != nil {
			return "", err
		}
	}
	return name, nil
}

// NameWithin discloses everybody whom words that the reader searches for name.
func (v *View) NameWithin(ctx context.Context, words string) error {
	if !v.Veils() {
		return nil
	}
	for _, who := range v.archive.roll.NamedWithin(words) {
		if err := v.disclose(ctx, who, v.purpose); err != nil {
			return err
		}
	}
	return nil
}

func (v *View) namesOf(ctx context.Context, list []string) ([]string, error) {
	out := make([]string, len(list))
	for i, name := range list {
		var err error
		if out[i], err = v.Name(ctx, name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Disclose tells who a pseudonym stands for, and shows that name in this view from then on. It is on record first, with its own purpose; ""
// is that of the view.
func (v *View) Disclose(ctx context.Context, pseudonym, purpose string) (Disclosed, error) {
	if v.archive.roll == nil {
		return Disclosed{}, ErrNoPseudonyms
	}
	who, ok := v.archive.roll.Resolve(pseudonym)
	if !ok {
		return Disclosed{}, fmt.Errorf("pseudonym %q: %w", pseudonym, ErrNotFound)
	}
	if purpose = strings.TrimSpace(purpose); purpose == "" {
		purpose = v.purpose
	}
	if len(purpose) > maxPurpose {
		return Disclosed{}, fmt.Errorf("disclose: the purpose is longer than %d bytes", maxPurpose)
	}
	if err := v.disclose(ctx, who, purpose); err != nil {
		return Disclosed{}, err
	}
	return Disclosed{Pseudonym: v.archive.roll.Of(who, ""), Kind: who.Kind, Names: v.archive.roll.Names(who)}, nil
}

// maxKnown bounds how many identities one view shows; beyond, a new purpose has to be given.
const maxKnown = 1000

// disclose makes an act durable that this reader learns who somebody is, once in a view.
func (v *View) disclose(ctx context.Context, who pseudonym.Identity, purpose string) error {
	v.mu.Lock()
	known, many := v.known[who], len(v.known) >= maxKnown
	v.mu.Unlock()
	switch {
	case known:
		return nil
	case many:
		return fmt.Errorf("disclose: %d names were disclosed for one purpose: give a purpose anew", maxKnown)
	}
	name := who.Name
	if names := v.archive.roll.Names(who); len(names) > 0 {
		name = names[0]
	}
	detail := &event.ActDetail{Action: ActDisclose, Object: v.archive.roll.Of(who, name), Purpose: purpose, Details: []event.Fact{{Name: string(who.Kind), Value: name}}}
	if err := v.record(ctx, detail); err != nil {
		return fmt.Errorf("record the disclosure of %s: %w", detail.Object, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known[who] = true
	return nil
}
