package xmpp

import (
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/shape"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Namespaces that the gateway knows.
const (
	nsClient   = "jabber:client"
	nsStream   = "http://etherx.jabber.org/streams"
	nsTLS      = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL     = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsSASL2    = "urn:xmpp:sasl:2"
	nsBind     = "urn:ietf:params:xml:ns:xmpp-bind"
	nsStanzas  = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsStreams  = "urn:ietf:params:xml:ns:xmpp-streams"
	nsSM       = "urn:xmpp:sm:3"
	nsCompress = "http://jabber.org/protocol/compress"
	nsMUC      = "http://jabber.org/protocol/muc"
	nsMUCUser  = "http://jabber.org/protocol/muc#user"
	nsCarbons  = "urn:xmpp:carbons:2"
	nsForward  = "urn:xmpp:forward:0"
	nsDelay    = "urn:xmpp:delay"
	nsUpload   = "urn:xmpp:http:upload:0"
	nsSID      = "urn:xmpp:sid:0"
	nsJingle   = "urn:xmpp:jingle:1"
	nsIBB      = "http://jabber.org/protocol/ibb"

	nsBytestreams = "http://jabber.org/protocol/bytestreams"
)

// said is what a message says and refers to.
type said struct {
	bodies    []string
	extra     []string // text in places that no rule of ours explains
	outer     []string // the same, in places that servers change: judged, not compared
	subject   string
	topic     bool // has a subject and no body
	encrypted bool

	replaces string // id of the message that it corrects (XEP-0308)
	retracts string // id of the message that it takes back (XEP-0424)
	reactsTo string // id of the message that it reacts to (XEP-0444)
	emojis   []string
	receipt  string // id of the message that was received (XEP-0184)
	read     string // id of the message that was displayed (XEP-0333)

	delayed bool
	stamp   time.Time         // when it was said, by the server that delayed it (XEP-0203)
	ids     []*xmlstream.Node // stanza-id elements (XEP-0359)
	urls    []string          // of XEP-0066
	call    bool              // proposes a call (XEP-0353)
	html    []*xmlstream.Node // XEP-0071
	bits    []*xmlstream.Node // data inside the stanza (XEP-0047, 0231)

	iq   string // of an iq, between whom it is
	told int    // length of the names that it tells
}

// readMessage gathers what a message says. Whatever it does not know is text: nothing may travel unseen in an element of which the gateway
// has not heard.
func readMessage(n *xmlstream.Node) *said {
	s := &said{}
	s.stanza(n)
	hasSubject := false
	for _, c := range n.Children {
		switch {
		case c.Space == n.Space && c.Local == "body":
			s.body(c)
		case c.Space == n.Space && c.Local == "subject":
			hasSubject = true
			s.subject = c.Text
			s.attributes(c, "")
			s.nested(c)
		case c.Space == n.Space && c.Local == "thread":
			s.thread(c)
		default:
			s.extension(c)
		}
	}
	if strings.TrimSpace(n.Text) != "" {
		s.extra = append(s.extra, n.Text)
	}
	for _, h := range s.html {
		s.markup(h)
	}
	s.topic = hasSubject && len(s.bodies) == 0
	return s
}

func (s *said) body(c *xmlstream.Node) {
	s.bodies = append(s.bodies, c.Text)
	s.encrypted = s.encrypted || strings.HasPrefix(c.Text, "?OTR") || strings.HasPrefix(c.Text, "-----BEGIN PGP MESSAGE")
	s.attributes(c, "")
	s.nested(c)
}

// nested gathers what stands inside an element that should hold text only.
func (s *said) nested(n *xmlstream.Node) {
	for _, c := range n.Children {
		s.unknown(c)
	}
}

// thread lets the id of a thread pass: one word, and no longer than ids are.
func (s *said) thread(n *xmlstream.Node) {
	if len(n.Text) > 128 || strings.ContainsAny(n.Text, " \t\n") {
		s.addExtra(n.Text)
	}
	s.attributes(n, "parent:token")
	s.nested(n)
}

func (s *said) addExtra(text string) {
	if strings.TrimSpace(text) != "" {
		s.extra = append(s.extra, text)
	}
}

// unknown gathers all that an element holds of which the gateway does not know: names, attributes and character data. Whoever can choose a
// name can write with it.
func (s *said) unknown(n *xmlstream.Node) { s.stranger(n, "") }

func (s *said) stranger(n *xmlstream.Node, within string) {
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
func (s *said) extension(c *xmlstream.Node) {
	if s.reference(c) {
		return
	}
	switch c.Space + " " + c.Local {
	case "urn:xmpp:delay delay":
		s.delayed = true
		s.stamp = stampOf(c.Attr("stamp"))
		s.take(c)
	case "urn:xmpp:sid:0 stanza-id":
		s.ids = append(s.ids, c)
		s.take(c)
	case "jabber:x:oob x":
		for _, u := range c.Children {
			if u.Local == "url" {
				s.urls = append(s.urls, u.Text)
			}
		}
		s.take(c)
	case "http://jabber.org/protocol/xhtml-im html":
		s.html = append(s.html, c)
	case "eu.siacs.conversations.axolotl encrypted", "urn:xmpp:omemo:2 encrypted", "urn:xmpp:omemo:1 encrypted",
		"urn:xmpp:openpgp:0 openpgp", "jabber:x:encrypted x", "http://www.xmpp.org/extensions/xep-0200.html#ns c":
		s.encrypted = true
	case "urn:xmpp:jingle-message:0 propose", "urn:xmpp:jingle-message:1 propose":
		s.call = true
		s.take(c)
	case nsIBB + " data", "urn:xmpp:bob data":
		s.bits = append(s.bits, c)
		s.take(c)
	default:
		s.take(c)
	}
}

// reference reads a child by which a message refers to another one.
func (s *said) reference(c *xmlstream.Node) bool {
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
		s.attributes(c, "id:token")
		s.addExtra(c.Text)
	case "urn:xmpp:receipts received":
		s.receipt = c.Attr("id")
		s.take(c)
	case "urn:xmpp:chat-markers:0 displayed":
		s.read = c.Attr("id")
		s.take(c)
	default:
		return false
	}
	return true
}

// fastening reads the first version of retractions, <apply-to><retract/></apply-to>.
func (s *said) fastening(n *xmlstream.Node) {
	for _, c := range n.Children {
		if c.Local == "retract" && strings.HasPrefix(c.Space, "urn:xmpp:message-retract:") {
			s.retracts = n.Attr("id")
			s.take(c)
			continue
		}
		s.unknown(c)
	}
	s.attributes(n, "id:token")
	s.addExtra(n.Text)
}

// markup takes the text of an XHTML body unless it says what the plain body says.
func (s *said) markup(n *xmlstream.Node) {
	all := n.AllText()
	plain := strings.Join(strings.Fields(strings.Join(s.bodies, " ")), "")
	if strings.Join(strings.Fields(all), "") != plain {
		s.addExtra(all)
	}
	s.marks(n)
}

// marks takes what markup says in attributes, and elements that are none of XHTML's.
func (s *said) marks(n *xmlstream.Node) {
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

// text returns all that is said, the bodies first.
func (s *said) text() string {
	if len(s.bodies) == 1 && len(s.extra) == 0 && len(s.emojis) == 0 {
		return s.bodies[0]
	}
	parts := make([]string, 0, len(s.bodies)+len(s.emojis)+len(s.extra))
	parts = append(append(append(parts, s.emojis...), s.bodies...), s.extra...)
	return strings.Join(parts, "\n")
}

// all returns what is judged: the text, and what stands at the stanza itself and says more.
func (s *said) all() string {
	all := s.text()
	for _, words := range s.outer {
		switch {
		case slices.Contains(s.bodies, words):
		case all == "":
			all = words
		default:
			all += "\n" + words
		}
	}
	return all
}

// kind says which kind of event the message is, "" when it says nothing that must be judged.
func (s *said) kind() event.Kind {
	switch {
	case s.retracts != "":
		return event.Retraction
	case s.reactsTo != "":
		return event.Reaction
	case s.replaces != "":
		return event.Edit
	case s.topic && len(s.extra)+len(s.outer) == 0 && !s.encrypted:
		return event.RoomChange
	case len(s.bodies) > 0 || len(s.extra)+len(s.outer) > 0 || s.subject != "" || s.encrypted || len(s.emojis) > 0:
		return event.Message
	case s.call:
		return event.Call
	}
	return ""
}

// refers returns the native id that the message refers to.
func (s *said) refers() string {
	for _, id := range []string{s.retracts, s.reactsTo, s.replaces} {
		if id != "" {
			return id
		}
	}
	return ""
}

// bareJID cuts the resource off.
func bareJID(jid string) string {
	bare, _, _ := strings.Cut(jid, "/")
	return strings.ToLower(bare)
}

func resource(jid string) string {
	_, r, _ := strings.Cut(jid, "/")
	return r
}

// domainOf returns the domain of a JID.
func domainOf(jid string) string {
	bare := bareJID(jid)
	if _, domain, ok := strings.Cut(bare, "@"); ok {
		return domain
	}
	return bare
}
