package xmpp

import (
	"bytes"
	"strings"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Where an iq goes, as far as others can read it.
const (
	toPeer   = "peer"   // to another person's client or account, as a question or an order
	toAsker  = "asker"  // to another person's client, as an answer
	toPublic = "public" // to an account or a service that shows it to others
)

// iqShape is shapeOf for what stands in an iq: the exchanges that clients need. Names of programs may be told in answers, briefly.
func iqShape(name, reach string) (string, bool) {
	label := ""
	if reach == toAsker {
		label = "label"
	}
	switch name {
	case "urn:xmpp:ping ping", "jabber:iq:version query", "urn:xmpp:time time", "vcard-temp vCard", "http://jabber.org/protocol/pubsub pubsub",
		"http://jabber.org/protocol/muc#admin query", "http://jabber.org/protocol/muc#owner query", "http://jabber.org/protocol/pubsub#owner pubsub",
		"http://jabber.org/protocol/pubsub publish-options", "http://jabber.org/protocol/muc#admin reason":
		return "", true
	case "http://jabber.org/protocol/disco#info query", "http://jabber.org/protocol/disco#items query":
		return "node:token", true
	case "http://jabber.org/protocol/disco#items item":
		return "jid:jid node:token name:" + label, true
	case "http://jabber.org/protocol/disco#info identity":
		return "category:word type:word name:" + label, true
	case "http://jabber.org/protocol/disco#info feature":
		return "var:token", true
	case "jabber:iq:last query":
		return "seconds:number", true
	case "jabber:iq:version name", "jabber:iq:version version", "jabber:iq:version os":
		return "text:" + label, true
	case "urn:xmpp:time tzo":
		return "text:" + label, true
	case "urn:xmpp:time utc":
		return "text:stamp", true
	case "http://jabber.org/protocol/bytestreams query":
		return "sid:token dstaddr:token mode:word", true
	case "http://jabber.org/protocol/bytestreams streamhost-used", "http://jabber.org/protocol/bytestreams activate":
		return "jid:jid text:token", true
	case nsIBB + " close":
		return "sid:token", true
	case nsIBB + " data":
		return "sid:token seq:number text:" + label, true
	}
	return storeShape(name, reach)
}

// storeShape knows what stands around things that are kept for others, and the orders to rooms.
func storeShape(name, reach string) (string, bool) {
	switch name {
	case "http://jabber.org/protocol/pubsub items", "http://jabber.org/protocol/pubsub publish", "http://jabber.org/protocol/pubsub subscribe",
		"http://jabber.org/protocol/pubsub unsubscribe", "http://jabber.org/protocol/pubsub retract", "http://jabber.org/protocol/pubsub create",
		"http://jabber.org/protocol/pubsub configure", "http://jabber.org/protocol/pubsub#owner configure", "http://jabber.org/protocol/pubsub#owner delete":
		return "node:token max_items:number jid:jid subid:token notify:word", true
	case "http://jabber.org/protocol/pubsub item":
		return "id:token publisher:jid", true
	case "http://jabber.org/protocol/muc#admin item":
		return "affiliation:word role:word jid:jid nick:token", true
	case "http://jabber.org/protocol/muc#owner destroy":
		return "jid:jid", true
	}
	return formShape(name, reach)
}

// formShape knows data forms where machines fill them in, and the keys and marks that clients publish.
func formShape(name, reach string) (string, bool) {
	text := ""
	switch reach {
	case toAsker:
		text = " text:label"
	case toPublic:
		text = " text:token"
	}
	switch name {
	case "jabber:x:data x":
		return "type:word", true
	case "jabber:x:data field":
		return "var:token type:word", true
	case "jabber:x:data value":
		return text, true
	}
	if space, _, _ := strings.Cut(name, " "); reach == toPublic {
		switch space {
		case "eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2", "urn:xmpp:avatar:metadata", "urn:xmpp:mds:displayed:0":
			local := name[len(space)+1:]
			return "id:token type:token bytes:number width:number height:number signedPreKeyId:number preKeyId:number by:jid text:token",
				len(local) <= 32 && token(local)
		}
	}
	return "", false
}

// reach says whether others can read an iq that the client sends, "" when nobody can.
func (s *session) reach(n *xmlstream.Node) string {
	_, own := s.account.Load().jid()
	to := n.Attr("to")
	bare := bareJID(to)
	switch {
	case strings.Contains(bare, "@") && bare != own && !(s.g.local(bare) && domainOf(bare) != strings.ToLower(s.g.cfg.Domain) && resource(to) == ""):
		if answerable(n) {
			return toPeer
		}
		return toAsker
	case n.Attr("type") == "set":
		for _, c := range n.Children {
			switch c.Space {
			case "http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/pubsub#owner", "vcard-temp", "urn:ietf:params:xml:ns:vcard-4.0",
				"http://jabber.org/protocol/muc#admin", "http://jabber.org/protocol/muc#owner":
				return toPublic
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
	if !strings.HasPrefix(n.Space, "urn:xmpp:jingle:") && !strings.HasPrefix(n.Space, "urn:ietf:rfc:") || !token(n.Space) || len(n.Space) > 64 {
		s.unknown(n)
		return
	}
	for _, a := range sorted(n) {
		switch {
		case a.Space == nsXMLNS:
			s.declared(a.Value)
		case !token(a.Value) && !address(a.Value):
			s.addExtra(a.Value)
		}
	}
	if !token(strings.TrimSpace(n.Text)) || n.Local == "text" {
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
