package shape_test

import (
	"crypto/rand"
	"encoding/base64"
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
		{"=owner|none", []string{"", "owner"}, []string{"4111", "owner|none", "own"}},
		{"id", []string{"", "a1-b2"}, []string{"two words", "tab\tbed", strings.Repeat("x", shape.MaxToken+1), "\xff", "x4111111111111111", "meet-zanzibar-pub"}},
		{"number", []string{"0", "1234567890"}, []string{"12345678901", "-1", "x"}},
		{"short", []string{"0", "123456"}, []string{"1234567", "-1"}},
		{"priority", []string{"-128", "127", "0"}, []string{"128", "4111", "+0001"}},
		{"sha1", []string{"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"}, []string{"4111111111111111", "meetme", "da39a3ee"}},
		{"version", []string{"QgayPKawpkPSDYmwT/WM94uAlu0=", "0.9.7", "v"}, []string{"meet-zanzibar-pub-noon-move-to-whatsapp", "meetatnoonbytheriverwithcar=", "4111111111111111"}},
		{"key", []string{"BQMp7uXpQ2nVvJtFk0+H3yZs8Wc1aLrD5eGm9xTqYz4B"}, []string{"meetatnoonbytheriverandbringallofthecardsxxx=", "4111111111111111"}},
		{"node", []string{"http://jabber.org/protocol/commands", "http://gajim.org#x+y=", "http://conversations.im#QgayPKawpkPSDYmwT/WM94uAlu0=", "https://dino.im", "urn:xmpp:jingle:apps:rtp:audio",
			"eu.siacs.conversations.axolotl.bundles:1234567890", "192.168.100.200", "2001:db8::1"}, []string{"http://x/meet-zanzibar-pub-noon", "urn:xmpp:meet-zanzibar-pub-noon", "4111111111111111", "two words"}},
		{"uri", []string{"xmpp:bob@example.org", "http://jabber.org/protocol/muc"}, []string{"xmpp:meet-zanzibar-pub-noon", "xmpp:a@b/meet-zanzibar-pub-noon"}},
		{"nick", []string{"Al B", "Jürg Müller"}, []string{"meet zanzibar noon pub", "4111 1111 1"}},
		{"jid", []string{"alice@example.org", "jean.dupont@rooms.example.org/gajim.5J2K8XQ1", "bob@example.org/Conversations.Ab3x", "desk@rooms.example.org/Alice von A"}, []string{"words that are an address", "room@x/meet me at the pub at eight", "room@x/4111 1111 1111", "meet-zanzibar-pub-noon", "a@b/meet-zanzibar-pub-noon", "meet-zanzibar@pub-noon.x/bring-card"}},
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
		"http://jabber.org/protocol/muc#user item":        "affiliation:=owner|admin|member|outcast|none role:=moderator|participant|visitor|none jid:jid",
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

// TestEveryFormIsClosed: no shape uses a form that takes any word, so that a new one cannot forget the test of words.
func TestEveryFormIsClosed(t *testing.T) {
	const words, card = "meet-zanzibar-pub-noon-move-to-whatsapp", "4111111111111111"
	for _, where := range []string{shape.Anywhere, shape.Presences, shape.Exchanges, shape.ToAsker, shape.ToPublic} {
		if len(shape.Known(where)) == 0 {
			t.Errorf("nothing is known %s", where)
		}
		for name, s := range shape.Known(where) {
			for f := range strings.FieldsSeq(s) {
				attr, form, ok := strings.Cut(f, ":")
				if form == "label" && where == shape.ToAsker {
					continue
				}
				if !ok || attr == "" || form == "" || shape.Fits(form, words) || shape.Fits(form, card) || form[0] != '=' && !used(form) {
					t.Errorf("%s: %s takes any word, or none", name, f)
				}
			}
		}
	}
}

// used reports whether a form takes what it is made for.
func used(form string) bool {
	for _, v := range []string{"1", "a@b", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "BQMp7uXpQ2nVvJtFk0+H3yZs8Wc1aLrD5eGm9xTqYz4B", "urn:xmpp:omemo:2", "2026-11-25T09:00:00Z"} {
		if shape.Fits(form, v) {
			return true
		}
	}
	return false
}

// TestKeysByChance: keys and digests are taken for words less than once in a thousand, and what stands where randomness does by nature.
func TestKeysByChance(t *testing.T) {
	const n = 20_000
	for form, size := range map[string]int{"key": 33, "version": 20} {
		wrong := 0
		for range n {
			b := make([]byte, size)
			rand.Read(b)
			if !shape.Fits(form, base64.StdEncoding.EncodeToString(b)) {
				wrong++
			}
		}
		t.Logf("%s: %d of %d", form, wrong, n)
		if wrong > n/1000 {
			t.Errorf("%s: %d of %d", form, wrong, n)
		}
	}
}
