package said

import (
	"strings"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/shape"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

// IQ gathers what an iq says to others.
func IQ(n *xmlstream.Node, reach string) *Content {
	s := &Content{shapes: func(name string) (string, bool) { return shape.IQ(name, reach) }, most: maxFree}
	if reach == shape.ToPublic {
		s.most = maxPublic
	}
	s.stanza(n)
	for _, c := range n.Children {
		if c.Space == "urn:xmpp:jingle:1" {
			s.most = maxCall
			s.loose(c)
			continue
		}
		s.take(c)
	}
	s.addExtra(n.Text)
	s.settle()
	return s
}

// loose takes what reads like words in an element whose many forms only machines write: codecs, candidates, fingerprints. Its names are
// judged like its values.
func (s *Content) loose(n *xmlstream.Node) {
	if !strings.HasPrefix(n.Space, "urn:xmpp:jingle:") && !strings.HasPrefix(n.Space, "urn:ietf:rfc:") || !s.passes("node", n.Space) || !s.passes("node", n.Local) {
		s.unknown(n)
		return
	}
	for _, a := range sorted(n) {
		switch {
		case a.Space == nsXMLNS:
			s.declared(a.Value)
		default:
			if !s.passes("node", a.Space) || !s.passes("node", a.Local) {
				s.addExtra(a.Space + " " + a.Local)
			}
			if !s.passes("node", a.Value) && !s.passes("jid", a.Value) {
				s.addExtra(a.Value)
			}
		}
	}
	if !s.passes("node", strings.TrimSpace(n.Text)) || n.Local == "text" {
		s.addExtra(n.Text)
	}
	for _, c := range n.Children {
		s.loose(c)
	}
}

// Presence gathers what a presence says: status texts, nicknames, and whatever else is more than a machine's.
func Presence(n *xmlstream.Node) *Content {
	s := &Content{shapes: shape.Presence, most: maxFree}
	s.stanza(n)
	for _, c := range n.Children {
		s.take(c)
	}
	s.addExtra(n.Text)
	s.settle()
	return s
}
