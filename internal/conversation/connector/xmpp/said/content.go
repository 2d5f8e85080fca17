// Package said reads what a stanza says to people: its words, wherever they stand, what they refer to, and what cannot be read. Elements in
// their known shape (package shape) say nothing; whatever else stands in a stanza is words, so that nothing travels unseen in a place of
// which the gateway has not heard.
package said

import (
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/shape"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Content is what a stanza says and refers to.
type Content struct {
	bodies    []string
	extra     []string // text in places that no rule of ours explains
	outer     []string // the same, in places that servers change: judged, not compared
	Subject   string
	topic     bool // has a subject and no body
	Encrypted bool

	replaces string // id of the message that it corrects (XEP-0308)
	retracts string // id of the message that it takes back (XEP-0424)
	reactsTo string // id of the message that it reacts to (XEP-0444)
	emojis   []string
	Receipt  string // id of the message that was received (XEP-0184)
	Read     string // id of the message that was displayed (XEP-0333)

	Delayed bool
	Stamp   time.Time         // when it was said, by the server that delayed it (XEP-0203)
	URLs    []string          // of XEP-0066
	call    bool              // proposes a call (XEP-0353)
	html    []*xmlstream.Node // XEP-0071
	Data    bool              // has data inside the stanza (XEP-0047, 0231)

	shapes func(name string) (string, bool) // what may stand in it and say nothing
	told   int                              // length of the names that it tells
	near   []string                         // addresses between which it goes: of them it may speak

	passed        []string // what its writer could choose in values that say nothing
	free, letters int      // how much that is: bytes, and letters of words
	most          int      // of free
}

// Message gathers what a message says.
func Message(n *xmlstream.Node) *Content {
	s := &Content{shapes: shape.Of, most: maxFree}
	s.stanza(n)
	hasSubject := false
	for _, c := range n.Children {
		switch {
		case c.Space == n.Space && c.Local == "body":
			s.body(c)
		case c.Space == n.Space && c.Local == "subject":
			hasSubject = true
			s.Subject = c.Text
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
	s.settle()
	return s
}

func (s *Content) body(c *xmlstream.Node) {
	s.bodies = append(s.bodies, c.Text)
	s.Encrypted = s.Encrypted || strings.HasPrefix(c.Text, "?OTR") || strings.HasPrefix(c.Text, "-----BEGIN PGP MESSAGE")
	s.attributes(c, "")
	s.nested(c)
}

// nested gathers what stands inside an element that should hold text only.
func (s *Content) nested(n *xmlstream.Node) {
	for _, c := range n.Children {
		s.unknown(c)
	}
}

// thread lets the id of a thread pass.
func (s *Content) thread(n *xmlstream.Node) {
	if len(n.Text) > 128 || !s.passes("id", n.Text) {
		s.addExtra(n.Text)
	}
	s.attributes(n, "parent:id")
	s.nested(n)
}

func (s *Content) addExtra(text string) {
	if strings.TrimSpace(text) != "" {
		s.extra = append(s.extra, text)
	}
}

// Text returns all that is said, the bodies first.
func (s *Content) Text() string {
	if len(s.bodies) == 1 && len(s.extra) == 0 && len(s.emojis) == 0 {
		return s.bodies[0]
	}
	parts := make([]string, 0, len(s.bodies)+len(s.emojis)+len(s.extra))
	parts = append(append(append(parts, s.emojis...), s.bodies...), s.extra...)
	return strings.Join(parts, "\n")
}

// All returns what is judged: the text, and what stands at the stanza itself and says more.
func (s *Content) All() string {
	all := s.Text()
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

// Kind says which kind of event the message is, "" when it says nothing that must be judged.
func (s *Content) Kind() event.Kind {
	switch {
	case s.retracts != "":
		return event.Retraction
	case s.reactsTo != "":
		return event.Reaction
	case s.replaces != "":
		return event.Edit
	case s.topic && len(s.extra)+len(s.outer) == 0 && !s.Encrypted:
		return event.RoomChange
	case len(s.bodies) > 0 || len(s.extra)+len(s.outer) > 0 || s.Subject != "" || s.Encrypted || len(s.emojis) > 0:
		return event.Message
	case s.call:
		return event.Call
	}
	return ""
}

// Refers returns the native id that the message refers to.
func (s *Content) Refers() string {
	for _, id := range []string{s.retracts, s.reactsTo, s.replaces} {
		if id != "" {
			return id
		}
	}
	return ""
}
