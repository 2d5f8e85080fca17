package xmpp

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

const (
	maxToken = 256 // of an id, an address or another word that machines write
	maxLabel = 64  // of a name of a program in its answer to a question
	maxTold  = 256 // of all such names of one answer
)

// shapeOf returns which attributes an element may have, and of which form, for it to say nothing: "name:form …", where the name "text" is
// its character data. What is not in its known shape is words, and elements that are not here are words with their names.
func shapeOf(name string) (string, bool) {
	space, local, _ := strings.Cut(name, " ")
	switch space {
	case "http://jabber.org/protocol/chatstates":
		return "", slices.Contains([]string{"active", "composing", "paused", "inactive", "gone"}, local)
	case "urn:xmpp:hints":
		return "", slices.Contains([]string{"no-store", "no-permanent-store", "no-copy", "store"}, local)
	case "urn:xmpp:jingle-message:0", "urn:xmpp:jingle-message:1":
		return "id:token to:token", slices.Contains([]string{"propose", "accept", "proceed", "reject", "retract", "ringing", "finish", "migrated"}, local)
	case nsStanzas:
		return "by:jid", condition(local)
	case nsMUCUser:
		return mucShape(local)
	case "jabber:x:event":
		return "text:token", slices.Contains([]string{"x", "offline", "delivered", "displayed", "composing", "id"}, local)
	}
	switch name {
	case "urn:xmpp:receipts request", "urn:xmpp:chat-markers:0 markable", "urn:xmpp:attention:0 attention", "urn:xmpp:carbons:2 private",
		"jabber:x:oob x", "jabber:x:oob url", "jabber:x:oob desc", "http://jabber.org/protocol/nick nick", "http://jabber.org/protocol/address addresses":
		return "", true
	case "urn:xmpp:receipts received", "urn:xmpp:sid:0 origin-id", "urn:xmpp:occupant-id:0 occupant-id", "urn:xmpp:reactions:0 reactions",
		"urn:xmpp:message-correct:0 replace", "urn:xmpp:message-retract:1 retract", "urn:xmpp:message-retract:0 retract", "urn:xmpp:fasten:0 apply-to":
		return "id:token", true
	case "urn:xmpp:chat-markers:0 received", "urn:xmpp:chat-markers:0 displayed", "urn:xmpp:chat-markers:0 acknowledged":
		return "id:token sender:jid", true
	case "urn:xmpp:sid:0 stanza-id":
		return "id:token by:jid", true
	case "urn:xmpp:reply:0 reply":
		return "id:token to:jid", true
	}
	return helperShape(name)
}

// helperShape knows the elements that stand beside a text or around it.
func helperShape(name string) (string, bool) {
	switch name {
	case "urn:xmpp:fallback:0 fallback", "urn:xmpp:feature-fallback:0 fallback":
		return "for:known", true
	case "urn:xmpp:fallback:0 body", "urn:xmpp:fallback:0 subject", "urn:xmpp:feature-fallback:0 body", "urn:xmpp:feature-fallback:0 subject":
		return "start:number end:number", true
	case "urn:xmpp:reference:0 reference":
		return "begin:number end:number type:word uri:jid anchor:jid", true
	case "urn:xmpp:eme:0 encryption":
		return "namespace:known name:word", true
	case "urn:xmpp:delay delay", "jabber:x:delay x":
		return "from:jid stamp:stamp", true
	case "urn:xmpp:idle:1 idle":
		return "since:stamp", true
	case "urn:xmpp:jingle:apps:rtp:1 description":
		return "media:word", true
	case "jabber:x:conference x":
		return "jid:jid thread:token continue:word", true
	case "http://jabber.org/protocol/address address":
		return "type:word jid:jid", true
	case "jabber:client error":
		return "type:word code:number by:jid", true
	}
	return "", false
}

func mucShape(local string) (string, bool) {
	switch local {
	case "x", "reason", "password":
		return "", true
	case "invite", "decline":
		return "to:jid from:jid", true
	case "continue":
		return "thread:token", true
	case "status":
		return "code:number", true
	case "item", "actor":
		return "affiliation:word role:word jid:jid", true
	}
	return "", false
}

// condition reports whether a name is a condition of a stanza error (RFC 6120, section 8.3.3), or the text beside one.
func condition(local string) bool {
	switch local {
	case "bad-request", "conflict", "feature-not-implemented", "forbidden", "gone", "internal-server-error", "item-not-found", "jid-malformed",
		"not-acceptable", "not-allowed", "not-authorized", "policy-violation", "recipient-unavailable", "redirect", "registration-required",
		"remote-server-not-found", "remote-server-timeout", "resource-constraint", "service-unavailable", "subscription-required",
		"undefined-condition", "unexpected-request", "text":
		return true
	}
	return false
}

// inForm reports whether a value has the form that its shape wants.
func inForm(form, v string) bool {
	switch form {
	case "token":
		return token(v)
	case "word":
		return len(v) <= 20 && !strings.ContainsFunc(v, func(r rune) bool { return r != '-' && r != '_' && !unicode.IsLetter(r) })
	case "number":
		return len(v) <= 10 && !strings.ContainsFunc(v, func(r rune) bool { return r < '0' || r > '9' })
	case "jid":
		return address(strings.TrimPrefix(v, "xmpp:"))
	case "known":
		return known(v)
	case "stamp": // XEP-0082, and the older XEP-0091
		_, now := time.Parse(time.RFC3339Nano, v)
		_, before := time.Parse("20060102T15:04:05", v)
		return len(v) <= 35 && (now == nil || before == nil)
	}
	return false
}

// token reports whether a value is one word, no longer than ids are: what machines write.
func token(v string) bool {
	return len(v) <= maxToken && utf8.ValidString(v) && !strings.ContainsFunc(v, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

// address reports whether a value can be a JID. Nicknames may have spaces, words of a message have more.
func address(v string) bool {
	bare, nick, _ := strings.Cut(v, "/")
	return token(bare) && (token(nick) || len(nick) <= 32 && strings.Count(nick, " ") <= 2 && digitsIn(nick) <= 8)
}

func digitsIn(v string) int {
	n := 0
	for _, r := range v {
		if unicode.IsDigit(r) {
			n++
		}
	}
	return n
}

// language reports whether a value is a tag of a language (BCP 47) as clients write them.
func language(v string) bool {
	for i, part := range strings.Split(v, "-") {
		if len(part) > 8 || i == 0 && len(part) > 3 || digitsIn(part) > 4 {
			return false
		}
	}
	return len(v) <= 20 && token(v)
}

// known reports whether a namespace is one that messages name as a value: of their encryption, or of what their fallback is for.
func known(v string) bool {
	switch v {
	case "eu.siacs.conversations.axolotl", "urn:xmpp:omemo:0", "urn:xmpp:omemo:1", "urn:xmpp:omemo:2", "urn:xmpp:openpgp:0", "jabber:x:encrypted",
		"urn:xmpp:otr:0", "urn:xmpp:reply:0", "urn:xmpp:reactions:0", "urn:xmpp:message-retract:1", "urn:xmpp:message-correct:0", "jabber:x:oob":
		return true
	}
	return false
}

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

// formOf finds the form of an attribute, or of "text", in a shape.
func formOf(shape, name string) string {
	for f := range strings.FieldsSeq(shape) {
		if of, form, _ := strings.Cut(f, ":"); of == name {
			return form
		}
	}
	return ""
}

// take reads an element: what its known shape explains passes, all else is words.
func (s *said) take(n *xmlstream.Node) {
	shape, ok := s.shape(n)
	if !ok {
		s.unknown(n)
		return
	}
	s.attributes(n, shape)
	if form := formOf(shape, "text"); form == "" || !s.passes(form, n.Text) {
		s.addExtra(n.Text)
	}
	for _, c := range n.Children {
		s.take(c)
	}
}

func (s *said) shape(n *xmlstream.Node) (string, bool) {
	name := n.Space + " " + n.Local
	if s.iq != "" {
		if shape, ok := iqShape(name, s.iq); ok {
			return shape, true
		}
	}
	return shapeOf(name)
}

func (s *said) passes(form, v string) bool {
	if form != "label" {
		return inForm(form, v)
	}
	s.told += len(v)
	return len(v) <= maxLabel && s.told <= maxTold && digitsIn(v) <= 8
}

// attributes takes the attributes that a shape does not explain, with their names.
func (s *said) attributes(n *xmlstream.Node, shape string) {
	for _, a := range sorted(n) {
		switch {
		case a.Space == nsXMLNS:
			s.declared(a.Value)
		case a.Space == nsXML && a.Local == "lang":
			if !language(a.Value) {
				s.addExtra(a.Value)
			}
		case a.Space != "" || !s.passes(formOf(shape, a.Local), a.Value):
			if formOf(shape, a.Local) == "" && a.Local != "reason" && a.Local != "nick" && a.Local != "password" {
				s.addExtra(a.Local)
			}
			s.addExtra(a.Value)
		}
	}
}

// declared takes a namespace that no name may need: servers leave those out, so it counts for what is judged, not for what is compared.
func (s *said) declared(uri string) {
	if !token(uri) {
		s.outer = append(s.outer, uri)
	}
}

// stanza takes what stands at the stanza itself. Servers may change it, so it counts for what is judged, not for what is compared.
func (s *said) stanza(n *xmlstream.Node) {
	around := said{}
	shape := "id:token to:any from:any type:any"
	for _, a := range sorted(n) {
		switch {
		case a.Space == "" && (a.Local == "to" || a.Local == "from"):
			if a.Local == "to" && !address(a.Value) {
				around.addExtra(resource(a.Value))
			}
		case a.Space == "" && a.Local == "type":
			if !slices.Contains([]string{"", "chat", "normal", "groupchat", "headline", "error", "get", "set", "result"}, a.Value) {
				around.addExtra(a.Value)
			}
		default:
			around.attributes(&xmlstream.Node{Attrs: []xmlstream.Attr{a}}, shape)
		}
	}
	s.outer = append(append(s.outer, around.extra...), around.outer...)
}
