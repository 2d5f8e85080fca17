package said

import (
	"strings"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/shape"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

// IQ gathers what an iq says to others.
func IQ(n *xmlstream.Node, reach string) *Content {
	s := &Content{shapes: func(name string) (string, bool) { return shape.IQ(name, reach) }}
	s.stanza(n)
	for _, c := range n.Children {
		if c.Space == "urn:xmpp:jingle:1" {
			s.loose(c)
			continue
		}
		s.take(c)
	}
	s.addExtra(n.Text)
	return s
}

// loose takes what is more than one word in an element whose many forms only machines write: codecs, candidates, fingerprints.
func (s *Content) loose(n *xmlstream.Node) {
	if !strings.HasPrefix(n.Space, "urn:xmpp:jingle:") && !strings.HasPrefix(n.Space, "urn:ietf:rfc:") || !shape.Token(n.Space) || len(n.Space) > 64 {
		s.unknown(n)
		return
	}
	for _, a := range sorted(n) {
		switch {
		case a.Space == nsXMLNS:
			s.declared(a.Value)
		case !shape.Token(a.Value) && !shape.Address(a.Value):
			s.addExtra(a.Value)
		}
	}
	if !shape.Token(strings.TrimSpace(n.Text)) || n.Local == "text" {
		s.addExtra(n.Text)
	}
	for _, c := range n.Children {
		s.loose(c)
	}
}

// Presence gathers what a presence says: status texts, nicknames, and whatever else is more than a machine's.
func Presence(n *xmlstream.Node) *Content {
	s := &Content{shapes: shape.Presence}
	s.stanza(n)
	for _, c := range n.Children {
		s.take(c)
	}
	s.addExtra(n.Text)
	return s
}
