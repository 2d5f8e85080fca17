// Package shape knows the elements that XMPP clients exchange besides words, and the forms that their attributes and texts have there. What is in
// its known shape says nothing to a person; all else is words, with its names.
package shape

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxToken is how long a word that machines write may be: an id, an address.
const MaxToken = 256

// Fits reports whether a value has the form that its shape wants. There is no form that takes any word: what fits is one of a list, a number, a
// time, a digest, or passes the test of words (ID). What is empty says nothing.
func Fits(form, v string) bool {
	if list, ok := strings.CutPrefix(form, "="); ok {
		return v == "" || slices.Contains(strings.Split(list, "|"), v)
	}
	switch form {
	case "":
		return false
	case "id":
		return ID(v)
	case "item":
		return ID(v) || Address(v)
	case "jid":
		return Address(v)
	case "uri":
		if jid, ok := strings.CutPrefix(v, "xmpp:"); ok {
			return Address(jid)
		}
		return Node(v)
	case "node":
		return Node(v)
	case "nick":
		return Name(v)
	case "known":
		return v == "" || known(v)
	}
	return v == "" || number(form, v) || digest(form, v)
}

// number knows numbers and times.
func number(form, v string) bool {
	switch form {
	case "number":
		return digits(v, 10)
	case "short":
		return digits(v, 6)
	case "code":
		return digits(v, 3)
	case "priority":
		n, err := strconv.Atoi(v)
		return err == nil && n >= -128 && n <= 127 && len(v) <= 4
	case "stamp": // XEP-0082, and the older XEP-0091
		_, now := time.Parse(time.RFC3339Nano, v)
		_, before := time.Parse("20060102T15:04:05", v)
		return len(v) <= 35 && (now == nil || before == nil)
	}
	return false
}

func digits(v string, most int) bool {
	return len(v) <= most && strings.Trim(v, "0123456789") == ""
}

// digest knows what stands for bytes that nobody chose.
func digest(form, v string) bool {
	switch form {
	case "sha1":
		return len(v) == 40 && (strings.Trim(v, "0123456789abcdef") == "" || strings.Trim(v, "0123456789ABCDEF") == "")
	case "version": // of capabilities: a digest, in old clients a short number
		return encoded(v, 16, 20, 28, 32, 48, 64) || len(v) <= 16 && ID(v)
	case "key":
		return encoded(strings.TrimSpace(v), 32, 33, 64)
	}
	return false
}

// encoded reports whether a value is the base64 of so many bytes, and reads like chance.
func encoded(v string, sizes ...int) bool {
	if len(v) > 96 {
		return false
	}
	b, err := base64.StdEncoding.DecodeString(v)
	return err == nil && slices.Contains(sizes, len(b)) && (random(v) || mixed(v))
}

// Token reports whether a value is one word, no longer than addresses are.
func Token(v string) bool {
	return len(v) <= MaxToken && utf8.ValidString(v) && !strings.ContainsFunc(v, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

// Nick reports whether a value can be no more than a name: a few words, and no number that means something.
func Nick(v string) bool {
	return len(v) <= 32 && strings.Count(v, " ") <= 2 && Digits(v) <= 8
}

// Address reports whether a value can be a JID: its parts are ids or names of people, and what it holds besides the usual names of hosts is no
// more than four words.
func Address(v string) bool {
	bare, resource, _ := strings.Cut(v, "/")
	local, domain, both := strings.Cut(bare, "@")
	if !both {
		local, domain = "", bare
	}
	words, _ := Weight(v)
	return len(v) <= MaxToken && Token(bare) && (ID(local) || Name(local)) && (Node(domain) || Name(domain)) && Resource(resource) && words <= 4
}

// Resource reports whether a value can be the resource of a client, or a nickname.
func Resource(v string) bool { return Node(v) || Name(v) }

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

// Type reports whether a value is a type of such a stanza.
func Type(stanza, v string) bool {
	if stanza == "presence" {
		return slices.Contains([]string{"", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error"}, v)
	}
	return slices.Contains([]string{"", "chat", "normal", "groupchat", "headline", "error", "get", "set", "result"}, v)
}
