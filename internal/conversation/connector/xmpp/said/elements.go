package said

import (
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/shape"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

// unknown gathers all that an element holds of which the gateway does not know: names, attributes and character data. Whoever can choose a
// name can write with it.
func (s *Content) unknown(n *xmlstream.Node) { s.stranger(n, "") }

func (s *Content) stranger(n *xmlstream.Node, within string) {
	names := n.Local
	if n.Space != within {
		names = n.Space + " " + n.Local
	}
	attrs := sorted(n)
	for _, a := range attrs {
		switch a.Space {
		case nsXMLNS:
			s.declared(a.Value)
		case "", nsXML:
			names += " " + a.Local
		default:
			names += " " + a.Space + " " + a.Local
		}
	}
	s.addExtra(names)
	for _, a := range attrs {
		if a.Space != nsXMLNS {
			s.addExtra(a.Value)
		}
	}
	s.addExtra(n.Text)
	for _, c := range n.Children {
		s.stranger(c, n.Space)
	}
}

// stampOf reads a time (XEP-0082); the zero time when it is none, or before the year 0 in UTC, which no record could hold.
func stampOf(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.UTC().Year() < 0 {
		return time.Time{}
	}
	return t
}

// extension reads one child in a namespace of its own.
func (s *Content) extension(c *xmlstream.Node) {
	if s.reference(c) {
		return
	}
	switch c.Space + " " + c.Local {
	case "urn:xmpp:delay delay":
		s.Delayed = true
		s.Stamp = stampOf(c.Attr("stamp"))
		s.take(c)
	case "jabber:x:oob x":
		for _, u := range c.Children {
			if u.Local == "url" {
				s.URLs = append(s.URLs, u.Text)
			}
		}
		s.take(c)
	case "http://jabber.org/protocol/xhtml-im html":
		s.html = append(s.html, c)
	case "eu.siacs.conversations.axolotl encrypted", "urn:xmpp:omemo:2 encrypted", "urn:xmpp:omemo:1 encrypted",
		"urn:xmpp:openpgp:0 openpgp", "jabber:x:encrypted x", "http://www.xmpp.org/extensions/xep-0200.html#ns c":
		s.Encrypted = true
	case "urn:xmpp:jingle-message:0 propose", "urn:xmpp:jingle-message:1 propose":
		s.call = true
		s.take(c)
	case "http://jabber.org/protocol/ibb data", "urn:xmpp:bob data":
		s.Data = true
		s.take(c)
	default:
		s.take(c)
	}
}

// reference reads a child by which a message refers to another one.
func (s *Content) reference(c *xmlstream.Node) bool {
	switch c.Space + " " + c.Local {
	case "urn:xmpp:message-correct:0 replace":
		s.replaces = c.Attr("id")
		s.take(c)
	case "urn:xmpp:message-retract:1 retract", "urn:xmpp:message-retract:0 retract":
		s.retracts = c.Attr("id")
		s.take(c)
	case "urn:xmpp:fasten:0 apply-to":
		s.fastening(c)
	case "urn:xmpp:reactions:0 reactions":
		s.reactsTo = c.Attr("id")
		for _, r := range c.Children {
			if r.Space != c.Space || r.Local != "reaction" {
				s.unknown(r)
				continue
			}
			s.emojis = append(s.emojis, r.Text)
			s.attributes(r, "")
			s.nested(r)
		}
		s.attributes(c, "id:id")
		s.addExtra(c.Text)
	case "urn:xmpp:receipts received":
		s.Receipt = c.Attr("id")
		s.take(c)
	case "urn:xmpp:chat-markers:0 displayed":
		s.Read = c.Attr("id")
		s.take(c)
	default:
		return false
	}
	return true
}

// fastening reads the first version of retractions, <apply-to><retract/></apply-to>.
func (s *Content) fastening(n *xmlstream.Node) {
	for _, c := range n.Children {
		if c.Local == "retract" && strings.HasPrefix(c.Space, "urn:xmpp:message-retract:") {
			s.retracts = n.Attr("id")
			s.take(c)
			continue
		}
		s.unknown(c)
	}
	s.attributes(n, "id:id")
	s.addExtra(n.Text)
}

// markup takes the text of an XHTML body unless it says what the plain body says.
func (s *Content) markup(n *xmlstream.Node) {
	all := n.AllText()
	plain := strings.Join(strings.Fields(strings.Join(s.bodies, " ")), "")
	if strings.Join(strings.Fields(all), "") != plain {
		s.addExtra(all)
	}
	s.marks(n)
}

// marks takes what markup says in attributes, and elements that are none of XHTML's.
func (s *Content) marks(n *xmlstream.Node) {
	if !markupName(n) {
		s.addExtra(n.Space + " " + n.Local)
	}
	for _, a := range sorted(n) {
		switch {
		case a.Space == nsXMLNS:
			s.declared(a.Value)
		case a.Local == "style" && plainStyle(a.Value), a.Local == "lang" && shape.Language(a.Value):
		default:
			s.addExtra(a.Value)
		}
	}
	for _, c := range n.Children {
		s.marks(c)
	}
}

func markupName(n *xmlstream.Node) bool {
	switch n.Local {
	case "html":
		return true
	case "body", "p", "br", "span", "a", "img", "em", "strong", "b", "i", "u", "s", "blockquote", "q", "cite", "code", "pre", "div", "ul", "ol", "li", "dl",
		"dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "abbr", "acronym", "address", "dfn", "kbd", "samp", "var", "font", "head", "title":
		return n.Space == "http://www.w3.org/1999/xhtml"
	}
	return false
}

// plainStyle reports whether a style sets colours, sizes and the like, each by one short word.
func plainStyle(v string) bool {
	for d := range strings.SplitSeq(v, ";") {
		property, value, _ := strings.Cut(d, ":")
		switch strings.TrimSpace(property) {
		case "", "color", "background-color", "font-size", "font-weight", "font-style", "text-align", "text-decoration", "margin-left", "margin-right":
		default:
			return false
		}
		if value = strings.TrimSpace(value); len(value) > 20 || !shape.Token(value) || shape.Digits(value) > 8 {
			return false
		}
	}
	return true
}
