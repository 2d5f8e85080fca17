package xmpp

import (
	"bytes"
	"strings"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/shape"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

// reach says whether others can read an iq that the client sends, "" when nobody can.
func (s *session) reach(n *xmlstream.Node) string {
	_, own := s.account.Load().jid()
	to := n.Attr("to")
	bare := bareJID(to)
	switch {
	case strings.Contains(bare, "@") && bare != own && !(s.g.local(bare) && domainOf(bare) != strings.ToLower(s.g.cfg.Domain) && resource(to) == ""):
		if answerable(n) {
			return shape.ToPeer
		}
		return shape.ToAsker
	case n.Attr("type") == "set":
		for _, c := range n.Children {
			switch c.Space {
			case "http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/pubsub#owner", "vcard-temp", "urn:ietf:params:xml:ns:vcard-4.0",
				"http://jabber.org/protocol/muc#admin", "http://jabber.org/protocol/muc#owner":
				return shape.ToPublic
			}
		}
	}
	return ""
}

// readIQ gathers what an iq says to others.
func readIQ(n *xmlstream.Node, reach string) *said {
	s := &said{iq: reach}
	s.stanza(n)
	for _, c := range n.Children {
		if c.Space == nsJingle {
			s.loose(c)
			continue
		}
		s.take(c)
	}
	s.addExtra(n.Text)
	return s
}

// loose takes what is more than one word in an element whose many forms only machines write: codecs, candidates, fingerprints.
func (s *said) loose(n *xmlstream.Node) {
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

// messageOf makes the record of an iq that says something.
func (g *Gateway) messageOf(n *xmlstream.Node, m *said, raw []byte) *event.Event {
	e := g.newEvent(event.Message)
	e.Text, e.Native, e.Raw = m.all(), n.Attr("id"), bytes.Clone(raw)
	e.Facts = []event.Fact{{Name: "stanza", Value: "iq"}}
	return e
}
