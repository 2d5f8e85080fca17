package shape_test

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/shape"
)

// TestForms: what each form takes, and what is words.
func TestForms(t *testing.T) {
	for _, c := range []struct {
		form       string
		good, evil []string
	}{
		{"token", []string{"", "a1-b2", strings.Repeat("x", shape.MaxToken)}, []string{"two words", "tab\tbed", strings.Repeat("x", shape.MaxToken+1), "\xff"}},
		{"word", []string{"owner", "no-store"}, []string{"4111", "two words", strings.Repeat("x", 21)}},
		{"number", []string{"0", "1234567890"}, []string{"12345678901", "-1", "x"}},
		{"jid", []string{"alice@example.org", "xmpp:alice@example.org", "desk@rooms.example.org/Alice von A"}, []string{"words that are an address", "room@x/meet me at the pub at eight", "room@x/4111 1111 1111"}},
		{"known", []string{"urn:xmpp:omemo:2"}, []string{"urn:xmpp:omemo:3", "meet me"}},
		{"stamp", []string{"2026-11-25T09:00:00Z", "20021203T11:15:00"}, []string{"tomorrow", "2026-11-25"}},
		{"", nil, []string{"anything"}},
	} {
		for _, v := range c.good {
			if !shape.Fits(c.form, v) {
				t.Errorf("%q is no %s", v, c.form)
			}
		}
		for _, v := range c.evil {
			if shape.Fits(c.form, v) {
				t.Errorf("%q passes as %s", v, c.form)
			}
		}
	}
	for v, good := range map[string]bool{"en": true, "de-CH": true, "meet": false, "en-meetingroom": false, "en-12345": false} {
		if shape.Language(v) != good {
			t.Errorf("language %q: %v", v, !good)
		}
	}
}

// TestShapes: elements that are known, what they may have, and such as are not.
func TestShapes(t *testing.T) {
	for name, want := range map[string]string{
		"http://jabber.org/protocol/chatstates composing": "",
		"urn:xmpp:receipts received":                      "id:id",
		"urn:ietf:params:xml:ns:xmpp-stanzas forbidden":   "by:jid",
		"http://jabber.org/protocol/muc#user item":        "affiliation:word role:word jid:jid",
	} {
		if got, ok := shape.Of(name); !ok || got != want {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
	for _, name := range []string{"http://jabber.org/protocol/chatstates meet-me", "urn:x zz", "urn:ietf:params:xml:ns:xmpp-stanzas meet-me", "http://jabber.org/protocol/muc#user meet"} {
		if _, ok := shape.Of(name); ok {
			t.Errorf("%s is known", name)
		}
	}
	if got, ok := shape.IQ("jabber:iq:version name", shape.ToAsker); !ok || shape.Form(got, "text") != "label" {
		t.Errorf("an answer: %q, %v", got, ok)
	}
	if got, ok := shape.IQ("jabber:iq:version name", shape.ToPeer); !ok || shape.Form(got, "text") != "" {
		t.Errorf("a question: %q, %v", got, ok)
	}
	if _, ok := shape.IQ("urn:xmpp:avatar:metadata info", shape.ToPeer); ok {
		t.Error("what is published is known between two people")
	}
}
