package search

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Terms is what a record is found by.
type Terms struct {
	Text   []string // tokens of what was written, and of what a flow, question or program is called
	Facets []string // "field=value", sorted, each once
}

// Everything is the facet that every record has.
const Everything = "any=1"

// maxFacets bounds the facets of one record; a message to more than that many handles is found by the first of them.
const maxFacets = 4096

// barrier stands between the parts of a text, so that no phrase reaches from one into the next.
const barrier = "\u00b6"

// TermsOf returns the terms of a record. An erased one has the facets of its header alone.
func TermsOf(r archive.Record) Terms {
	var b builder
	e := r.Event
	b.facets = append(b.facets, Everything)
	b.facet("kind", string(e.Kind))
	if e.Kind == event.Act {
		b.facet("act", e.Phase)
	}
	b.facet("connector", e.Connector)
	b.facet("verdict", string(r.Action))
	b.facet("rule", r.Rule)
	b.facet("room", e.Room.Name)
	b.who(e.Room.ID)
	b.party("from", e.From)
	for _, to := range e.To {
		b.party("to", to)
	}
	b.host(e.Host)
	if !r.Erased && !r.KeyLost {
		b.content(e)
	}
	slices.Sort(b.facets)
	return Terms{b.text, slices.Compact(b.facets)}
}

type builder struct {
	text   []string
	facets []string
}

func (b *builder) facet(field, value string) {
	if value != "" && len(b.facets) < maxFacets {
		b.facets = append(b.facets, field+"="+Fold(value))
	}
}

func (b *builder) who(value string) { b.facet("who", value) }

func (b *builder) party(field string, p event.Party) {
	b.facet(field, p.Handle)
	b.facet(field, p.Person)
	b.facet(field, p.Name)
	b.who(p.ID)
	b.who(p.Handle)
	b.who(p.Person)
	b.who(p.Name)
}

func (b *builder) host(h event.Host) {
	for _, name := range []string{h.Name, h.Address, h.ID} {
		b.facet("host", name)
		b.who(name)
	}
	b.who(h.Person)
}

// address adds the address of an endpoint written as ip or ip:port.
func (b *builder) address(s string) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		s = ap.Addr().Unmap().String()
	}
	b.facet("host", s)
	b.who(s)
}

// words adds a part of the text.
func (b *builder) words(parts ...string) {
	for _, s := range parts {
		if s == "" || len(b.text) >= maxTokens {
			continue
		}
		if len(b.text) > 0 {
			b.text = append(b.text, barrier)
		}
		b.text = appendTokens(b.text, s)
	}
}

func (b *builder) content(e *event.Event) {
	b.words(e.Text, e.Subject)
	for _, o := range e.Verdict.Obligations {
		b.facet("rule", o.Rule)
	}
	for _, f := range e.Files {
		b.words(f.Name, f.URL)
		b.facet("file", f.Name)
		b.facet("file", f.SHA256)
		b.facet("has", hasFile)
	}
	if strings.Contains(e.Text, "://") || strings.Contains(e.Text, "www.") {
		b.facet("has", hasLink)
	}
	if len(e.Hits) > 0 {
		b.facet("has", hasHit)
	}
	for _, h := range e.Hits {
		b.facet("hit", h.Name)
	}
	if len(e.NotChecked) > 0 {
		b.facet("has", hasNotInspected)
	}
	if e.Act != nil {
		b.facet("act", e.Act.Action)
		b.words(e.Act.Action, e.Act.Object, e.Act.Purpose)
		for _, f := range e.Act.Details {
			b.words(f.Name + " " + f.Value)
		}
	}
	b.network(e)
	b.endpoint(e)
}

func (b *builder) network(e *event.Event) {
	if f := e.Flow; f != nil {
		b.words(f.App, f.Service, f.Name, f.Client, f.Server, e.Host.Name, e.Host.Address)
		b.facet("app", f.App)
		b.address(f.Client)
		b.address(f.Server)
	}
	if q := e.Question; q != nil {
		b.words(q.Name, q.App, q.Client, e.Host.Name)
		b.words(q.Answers...)
		b.facet("app", q.App)
		b.address(q.Client)
	}
	if w := e.Web; w != nil {
		b.words(w.URL, w.App, e.Host.Name, e.Host.Address)
		b.facet("app", w.App)
	}
	if c := e.CallDetail; c != nil {
		b.words(c.Media)
		for _, p := range c.Parties {
			b.party("to", p)
		}
	}
}

func (b *builder) endpoint(e *event.Event) {
	if p := e.Program; p != nil {
		b.words(p.Path, p.Inside, p.App, p.Form, p.Format, p.Version, p.Publisher, p.SHA256, p.Owner, e.Host.Name, e.Host.Address)
		b.facet("app", p.App)
		b.facet("file", p.SHA256)
		b.facet("file", p.Path[strings.LastIndexAny(p.Path, `/\`)+1:])
	}
	if m := e.Media; m != nil {
		b.words(m.Device, m.Serial, m.Label, m.Mount, e.Host.Name)
	}
}
