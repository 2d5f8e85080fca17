package said

import (
	"cmp"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/shape"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

const (
	maxLabel = 64  // of a name of a program in its answer to a question
	maxTold  = 256 // of all such names of one answer

	maxLetters = 160  // of words in all values of a stanza that pass
	maxFree    = 1024 // bytes of all such values, without the words of protocols
	maxCall    = 8192 // the same where two clients agree on a call
	maxPublic  = 8192 // the same in keys that a client publishes
)

// sorted returns the attributes in one order: servers write them in any.
func sorted(n *xmlstream.Node) []xmlstream.Attr {
	if len(n.Attrs) < 2 {
		return n.Attrs
	}
	out := slices.Clone(n.Attrs)
	slices.SortFunc(out, func(a, b xmlstream.Attr) int {
		return cmp.Or(strings.Compare(a.Space, b.Space), strings.Compare(a.Local, b.Local))
	})
	return out
}

const (
	nsXML   = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS = "http://www.w3.org/2000/xmlns/"
)

// take reads an element: what its known shape explains passes, all else is words.
func (s *Content) take(n *xmlstream.Node) {
	known, ok := s.shapes(n.Space + " " + n.Local)
	if !ok {
		s.unknown(n)
		return
	}
	s.attributes(n, known)
	if form := shape.Form(known, "text"); form == "" || !s.passes(form, n.Text) {
		s.addExtra(n.Text)
	}
	for _, c := range n.Children {
		s.take(c)
	}
}

// passes reports whether a value has its form, and keeps account of what its writer could choose in it.
func (s *Content) passes(form, v string) bool {
	if form == "label" {
		s.told += len(v)
		return len(v) <= maxLabel && s.told <= maxTold && shape.Digits(v) <= 8
	}
	if !shape.Fits(form, v) {
		return false
	}
	if v != "" && !slices.Contains(s.near, v) {
		size, letters := shape.Free(form, v)
		if s.free, s.letters = s.free+size, s.letters+letters; size > 0 {
			s.passed = append(s.passed, v)
		}
	}
	return true
}

// settle takes all that passed for words when it is more in sum than machines have to say.
func (s *Content) settle() {
	if s.free > s.most || s.letters > maxLetters {
		s.outer = append(s.outer, strings.Join(s.passed, "\n"))
	}
}

// attributes takes the attributes that a shape does not explain, with their names.
func (s *Content) attributes(n *xmlstream.Node, known string) {
	for _, a := range sorted(n) {
		switch {
		case a.Space == nsXMLNS:
			s.declared(a.Value)
		case a.Space == nsXML && a.Local == "lang":
			if !shape.Language(a.Value) {
				s.addExtra(a.Value)
			}
		case a.Space != "" || !s.passes(shape.Form(known, a.Local), a.Value):
			if shape.Form(known, a.Local) == "" && a.Local != "reason" && a.Local != "nick" && a.Local != "password" {
				s.addExtra(a.Local)
			}
			s.addExtra(a.Value)
		}
	}
}

// declared takes a namespace that no name may need: servers leave those out, so it counts for what is judged, not for what is compared.
func (s *Content) declared(uri string) {
	if !s.passes("node", uri) {
		s.outer = append(s.outer, uri)
	}
}

// stanza takes what stands at the stanza itself. Servers may change it, so it counts for what is judged, not for what is compared.
func (s *Content) stanza(n *xmlstream.Node) {
	for _, jid := range []string{n.Attr("to"), n.Attr("from")} {
		bare, _, _ := strings.Cut(jid, "/")
		s.near = append(s.near, bare, bare[strings.IndexByte(bare, '@')+1:])
	}
	around := Content{near: s.near}
	for _, a := range sorted(n) {
		switch {
		case a.Space == "" && a.Local == "to":
			if _, resource, _ := strings.Cut(a.Value, "/"); !shape.Resource(resource) {
				around.addExtra(resource)
			} else if resource != "" {
				around.passes("id", resource)
			}
		case a.Space == "" && a.Local == "from":
		case a.Space == "" && a.Local == "type":
			if !shape.Type(n.Local, a.Value) {
				around.addExtra(a.Value)
			}
		default:
			around.attributes(&xmlstream.Node{Attrs: []xmlstream.Attr{a}}, "id:id")
		}
	}
	s.free, s.letters, s.passed = around.free, around.letters, around.passed
	s.outer = append(append(s.outer, around.extra...), around.outer...)
}
