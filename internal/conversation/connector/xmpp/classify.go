package xmpp

import (
	"strings"
	"time"

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
)

// said is what a message says and refers to.
type said struct {
	bodies    []string
	extra     []string // text in places that no rule of ours explains
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
}

// readMessage gathers what a message says. Whatever it does not know is text: nothing may travel unseen in an element of which the gateway
// has not heard.
func readMessage(n *xmlstream.Node) *said {
	s := &said{}
	hasSubject := false
	for _, c := range n.Children {
		switch {
		case c.Space == n.Space && c.Local == "body":
			s.body(c)
		case c.Space == n.Space && c.Local == "subject":
			hasSubject = true
			s.subject = c.Text
			s.nested(c)
		case c.Space == n.Space && c.Local == "thread":
			s.thread(c)
		case c.Space == n.Space && c.Local == "error":
			s.stray(c)
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
	s.nested(c)
}

// nested gathers what stands inside an element that should hold text only.
func (s *said) nested(n *xmlstream.Node) {
	for _, c := range n.Children {
		s.unknown(c)
	}
}

// stray gathers the text of an element that should have none, or none that matters.
func (s *said) stray(n *xmlstream.Node) {
	s.addExtra(n.Text)
	s.nested(n)
}

// thread lets the id of a thread pass: one word, and no longer than ids are.
func (s *said) thread(n *xmlstream.Node) {
	if len(n.Text) > 128 || strings.ContainsAny(n.Text, " \t\n") {
		s.addExtra(n.Text)
	}
	s.nested(n)
}

func (s *said) addExtra(text string) {
	if strings.TrimSpace(text) != "" {
		s.extra = append(s.extra, text)
	}
}

// unknown gathers all character data and attribute values of an element that the gateway does not know.
func (s *said) unknown(n *xmlstream.Node) {
	for _, a := range n.Attrs {
		if a.Space != "http://www.w3.org/2000/xmlns/" {
			s.addExtra(a.Value)
		}
	}
	s.addExtra(n.Text)
	for _, c := range n.Children {
		s.unknown(c)
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
		s.stray(c)
	case "urn:xmpp:sid:0 stanza-id":
		s.ids = append(s.ids, c)
		s.stray(c)
	case "jabber:x:oob x":
		for _, u := range c.Children {
			if u.Local == "url" {
				s.urls = append(s.urls, u.Text)
			}
		}
		s.stray(c)
	case "http://jabber.org/protocol/xhtml-im html":
		s.html = append(s.html, c)
	case "eu.siacs.conversations.axolotl encrypted", "urn:xmpp:omemo:2 encrypted", "urn:xmpp:omemo:1 encrypted",
		"urn:xmpp:openpgp:0 openpgp", "jabber:x:encrypted x", "http://www.xmpp.org/extensions/xep-0200.html#ns c":
		s.encrypted = true
	case "urn:xmpp:jingle-message:0 propose", "urn:xmpp:jingle-message:1 propose":
		s.call = true
		s.addExtra(c.AllText())
	default:
		s.other(c)
	}
}

// reference reads a child by which a message refers to another one.
func (s *said) reference(c *xmlstream.Node) bool {
	switch c.Space + " " + c.Local {
	case "urn:xmpp:message-correct:0 replace":
		s.replaces = c.Attr("id")
		s.stray(c)
	case "urn:xmpp:message-retract:1 retract", "urn:xmpp:message-retract:0 retract":
		s.retracts = c.Attr("id")
		s.stray(c)
	case "urn:xmpp:fasten:0 apply-to":
		s.fastening(c)
	case "urn:xmpp:reactions:0 reactions":
		s.reactsTo = c.Attr("id")
		for _, r := range c.Children {
			s.emojis = append(s.emojis, r.AllText())
		}
		s.addExtra(c.Text)
	case "urn:xmpp:receipts received":
		s.receipt = c.Attr("id")
		s.stray(c)
	case "urn:xmpp:chat-markers:0 displayed":
		s.read = c.Attr("id")
		s.stray(c)
	default:
		return false
	}
	return true
}

// other reads children that carry no text when they are as their specification says, and takes all else as text.
func (s *said) other(c *xmlstream.Node) {
	switch c.Space {
	case "http://jabber.org/protocol/chatstates", "urn:xmpp:chat-markers:0", "urn:xmpp:receipts", "urn:xmpp:hints",
		"urn:xmpp:sid:0", "urn:xmpp:eme:0", "urn:xmpp:attention:0", "urn:xmpp:carbons:2", "urn:xmpp:reply:0",
		"urn:xmpp:fallback:0", "urn:xmpp:feature-fallback:0", "urn:xmpp:jingle-message:0", "urn:xmpp:jingle-message:1", "jabber:x:delay",
		"urn:xmpp:occupant-id:0", "urn:xmpp:idle:1", "jabber:x:event":
		s.machine(c)
	case nsMUCUser, "jabber:x:conference", "http://jabber.org/protocol/nick":
		s.invitation(c)
	default:
		s.unknown(c)
	}
}

// machine takes an element that only machines write: attributes pass, text and foreign children do not.
func (s *said) machine(n *xmlstream.Node) {
	s.addExtra(n.Text)
	for _, c := range n.Children {
		if c.Space == n.Space {
			s.machine(c)
		} else {
			s.unknown(c)
		}
	}
}

// invitation takes the words of an invitation: reasons, passwords and nicknames.
func (s *said) invitation(n *xmlstream.Node) {
	s.addExtra(n.Attr("reason"))
	s.machine(n)
}

// fastening reads the first version of retractions, <apply-to><retract/></apply-to>.
func (s *said) fastening(n *xmlstream.Node) {
	for _, c := range n.Children {
		if c.Local == "retract" && strings.HasPrefix(c.Space, "urn:xmpp:message-retract:") {
			s.retracts = n.Attr("id")
			s.stray(c)
			continue
		}
		s.unknown(c)
	}
	s.addExtra(n.Text)
}

// markup takes the text of an XHTML body unless it says what the plain body says.
func (s *said) markup(n *xmlstream.Node) {
	all := n.AllText()
	plain := strings.Join(strings.Fields(strings.Join(s.bodies, " ")), "")
	if strings.Join(strings.Fields(all), "") != plain {
		s.addExtra(all)
	}
	s.addresses(n)
}

func (s *said) addresses(n *xmlstream.Node) {
	for _, name := range []string{"href", "src", "alt", "title"} {
		s.addExtra(n.Attr(name))
	}
	for _, c := range n.Children {
		s.addresses(c)
	}
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

// kind says which kind of event the message is, "" when it says nothing that must be judged.
func (s *said) kind() event.Kind {
	switch {
	case s.retracts != "":
		return event.Retraction
	case s.reactsTo != "":
		return event.Reaction
	case s.replaces != "":
		return event.Edit
	case s.topic && len(s.extra) == 0 && !s.encrypted:
		return event.RoomChange
	case len(s.bodies) > 0 || len(s.extra) > 0 || s.subject != "" || s.encrypted || len(s.emojis) > 0:
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
