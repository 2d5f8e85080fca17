// Package shape knows the elements that XMPP clients exchange besides words, and the forms that their attributes and texts have there. What is in
// its known shape says nothing to a person; all else is words, with its names.
package shape

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxToken is how long a word that machines write may be: an id, an address.
const MaxToken = 256

// Of returns which attributes an element may have, and of which form, for it to say nothing: "name:form …", where the name "text" is
// its character data. What is not in its known shape is words, and elements that are not here are words with their names.
func Of(name string) (string, bool) {
	space, local, _ := strings.Cut(name, " ")
	switch space {
	case "http://jabber.org/protocol/chatstates":
		return "", slices.Contains([]string{"active", "composing", "paused", "inactive", "gone"}, local)
	case "urn:xmpp:hints":
		return "", slices.Contains([]string{"no-store", "no-permanent-store", "no-copy", "store"}, local)
	case "urn:xmpp:jingle-message:0", "urn:xmpp:jingle-message:1":
		return "id:id to:token", slices.Contains([]string{"propose", "accept", "proceed", "reject", "retract", "ringing", "finish", "migrated"}, local)
	case "urn:ietf:params:xml:ns:xmpp-stanzas":
		return "by:jid", condition(local)
	case "http://jabber.org/protocol/muc#user":
		return mucShape(local)
	case "jabber:x:event":
		return "text:token", slices.Contains([]string{"x", "offline", "delivered", "displayed", "composing", "id"}, local)
	}
	switch name {
	case "urn:xmpp:receipts request", "urn:xmpp:chat-markers:0 markable", "urn:xmpp:attention:0 attention", "urn:xmpp:carbons:2 private",
		"jabber:x:oob x", "jabber:x:oob url", "jabber:x:oob desc", "http://jabber.org/protocol/nick nick", "http://jabber.org/protocol/address addresses":
		return "", true
	case "urn:xmpp:receipts received", "urn:xmpp:sid:0 origin-id", "urn:xmpp:reactions:0 reactions",
		"urn:xmpp:message-correct:0 replace", "urn:xmpp:message-retract:1 retract", "urn:xmpp:message-retract:0 retract", "urn:xmpp:fasten:0 apply-to":
		return "id:id", true
	case "urn:xmpp:chat-markers:0 received", "urn:xmpp:chat-markers:0 displayed", "urn:xmpp:chat-markers:0 acknowledged":
		return "id:id sender:jid", true
	case "urn:xmpp:sid:0 stanza-id", "urn:xmpp:occupant-id:0 occupant-id": // servers add these: taken for words they would make a copy another message
		return "id:token by:jid", true
	case "urn:xmpp:reply:0 reply":
		return "id:id to:jid", true
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

// Fits reports whether a value has the form that its shape wants.
func Fits(form, v string) bool {
	switch form {
	case "token":
		return Token(v)
	case "id":
		return ID(v)
	case "word":
		return len(v) <= 20 && !strings.ContainsFunc(v, func(r rune) bool { return r != '-' && r != '_' && !unicode.IsLetter(r) })
	case "number":
		return len(v) <= 10 && !strings.ContainsFunc(v, func(r rune) bool { return r < '0' || r > '9' })
	case "jid":
		return Address(strings.TrimPrefix(v, "xmpp:"))
	case "integer":
		return Fits("number", strings.TrimPrefix(v, "-"))
	case "known":
		return known(v)
	case "nick":
		return Nick(v)
	case "stamp": // XEP-0082, and the older XEP-0091
		_, now := time.Parse(time.RFC3339Nano, v)
		_, before := time.Parse("20060102T15:04:05", v)
		return len(v) <= 35 && (now == nil || before == nil)
	}
	return false
}

// Token reports whether a value is one word, no longer than addresses are: what machines write.
func Token(v string) bool {
	return len(v) <= MaxToken && utf8.ValidString(v) && !strings.ContainsFunc(v, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

// Nick reports whether a value can be no more than a name: a few words, and no number that means something.
func Nick(v string) bool {
	return len(v) <= 32 && strings.Count(v, " ") <= 2 && Digits(v) <= 8
}

// Address reports whether a value can be a JID. Nicknames may have spaces, words of a message have more.
func Address(v string) bool {
	bare, nick, _ := strings.Cut(v, "/")
	return Token(bare) && (Token(nick) || Nick(nick))
}

// Digits counts the digits of a text.
func Digits(v string) int {
	n := 0
	for _, r := range v {
		if unicode.IsDigit(r) {
			n++
		}
	}
	return n
}

// Language reports whether a value is a tag of a language (BCP 47) as clients write them.
func Language(v string) bool {
	for i, part := range strings.Split(v, "-") {
		if len(part) > 8 || i == 0 && len(part) > 3 || Digits(part) > 4 {
			return false
		}
	}
	return len(v) <= 20 && Token(v)
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

// Form finds the form of an attribute, or of "text", in a shape.
func Form(shape, name string) string {
	for f := range strings.FieldsSeq(shape) {
		if of, form, _ := strings.Cut(f, ":"); of == name {
			return form
		}
	}
	return ""
}

// Type reports whether a value is a type of such a stanza.
func Type(stanza, v string) bool {
	if stanza == "presence" {
		return slices.Contains([]string{"", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error"}, v)
	}
	return slices.Contains([]string{"", "chat", "normal", "groupchat", "headline", "error", "get", "set", "result"}, v)
}

// Presence is Of for what stands in a presence.
func Presence(name string) (string, bool) {
	switch name {
	case "jabber:client show":
		return "text:word", true
	case "jabber:client priority":
		return "text:integer", true
	case "jabber:client status", "vcard-temp:x:update x", "http://jabber.org/protocol/muc x":
		return "", true
	case "http://jabber.org/protocol/caps c":
		return "hash:token node:token ver:token", true
	case "vcard-temp:x:update photo", "http://jabber.org/protocol/muc password":
		return "text:token", true
	case "http://jabber.org/protocol/muc history":
		return "maxchars:number maxstanzas:number seconds:number since:stamp", true
	case "http://jabber.org/protocol/muc#user item":
		return "affiliation:word role:word jid:jid nick:nick", true
	case "urn:xmpp:pars:0 preauth":
		return "token:token", true
	}
	return Of(name)
}

// Where an iq goes, as far as others can read it.
const (
	ToPeer   = "peer"   // to another person's client or account, as a question or an order
	ToAsker  = "asker"  // to another person's client, as an answer
	ToPublic = "public" // to an account or a service that shows it to others
)

// IQ is Of for what stands in an iq: the exchanges that clients need. Names of programs may be told in answers, briefly.
func IQ(name, reach string) (string, bool) {
	if reach != "" {
		if known, ok := exchange(name, reach); ok {
			return known, true
		}
	}
	return Of(name)
}

func exchange(name, reach string) (string, bool) {
	label := ""
	if reach == ToAsker {
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
	case "http://jabber.org/protocol/ibb close":
		return "sid:token", true
	case "http://jabber.org/protocol/ibb data":
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
	case ToAsker:
		text = " text:label"
	case ToPublic:
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
	if space, _, _ := strings.Cut(name, " "); reach == ToPublic {
		switch space {
		case "eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2", "urn:xmpp:avatar:metadata", "urn:xmpp:mds:displayed:0":
			local := name[len(space)+1:]
			return "id:token type:token bytes:number width:number height:number signedPreKeyId:number preKeyId:number by:jid text:token",
				len(local) <= 32 && Token(local)
		}
	}
	return "", false
}
