package said

import (
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

var clientScope = xmlstream.Scope{{Prefix: "", URI: "jabber:client"}}

func parse(t testing.TB, xml string) *xmlstream.Node {
	t.Helper()
	n, err := xmlstream.Parse([]byte(xml), clientScope, xmlstream.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestKindsOfMessages(t *testing.T) {
	for _, tt := range []struct {
		xml  string
		kind event.Kind
		ref  string
		text string
	}{
		{"<body>x</body>", event.Message, "", "x"},
		{"<body>x</body><body xml:lang='de'>y</body>", event.Message, "", "x\ny"},
		{"<body/>", event.Message, "", ""},
		{"", "", "", ""},
		{"<thread>e0ffe42b28561960c6b12b944a092794b9683a38</thread>", "", "", ""},
		{"<thread>a thread of words</thread>", event.Message, "", "a thread of words"},
		{"<subject>topic</subject>", event.RoomChange, "", ""},
		{"<subject>topic</subject><thread>t</thread>", event.RoomChange, "", ""},
		{"<subject>s</subject><body>b</body>", event.Message, "", "b"},
		{"<composing xmlns='http://jabber.org/protocol/chatstates'/>", "", "", ""},
		{"<received xmlns='urn:xmpp:receipts' id='1'/>", "", "", ""},
		{"<received xmlns='urn:xmpp:receipts' id='meet-at-noon'/>", event.Message, "", "meet-at-noon"},
		{"<thread>meet-at-noon</thread>", event.Message, "", "meet-at-noon"},
		{"<stanza-id xmlns='urn:xmpp:sid:0' by='desk@rooms.example.org' id='0d2f1f7e-8a55-4b6d-9d3e-6a1f0e5c7b21'/>", "", "", ""},
		{"<stanza-id xmlns='urn:xmpp:sid:0' by='desk@rooms.example.org' id='meet-at-noon'/>", event.Message, "", "meet-at-noon"},
		{"<no-store xmlns='urn:xmpp:hints'/><origin-id xmlns='urn:xmpp:sid:0' id='7'/>", "", "", ""},
		{"<body>b</body><replace xmlns='urn:xmpp:message-correct:0' id='1'/>", event.Edit, "1", "b"},
		{"<replace xmlns='urn:xmpp:message-correct:0' id='1'>hidden</replace>", event.Edit, "1", "hidden"},
		{"<retract xmlns='urn:xmpp:message-retract:1' id='1'/>", event.Retraction, "1", ""},
		{"<apply-to xmlns='urn:xmpp:fasten:0' id='1'><retract xmlns='urn:xmpp:message-retract:0'/></apply-to>", event.Retraction, "1", ""},
		{"<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>a</reaction><reaction>b</reaction></reactions>", event.Reaction, "1", "a\nb"},
		{"<reactions xmlns='urn:xmpp:reactions:0' id='1'/>", event.Reaction, "1", ""},
		{"<propose xmlns='urn:xmpp:jingle-message:0' id='1'><description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose>", event.Call, "", ""},
		{"<propose xmlns='urn:xmpp:jingle-message:0' id='1'>call me at 4</propose>", event.Message, "", "call me at 4"},
		{"<x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@b'><reason>come in</reason></invite></x>", event.Message, "", "come in"},
		{"<body>a b</body><html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><p>a <b>b</b></p></body></html>", event.Message, "", "a b"},
		{"<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><a href='u:v'>w</a></body></html><body>a</body>", event.Message, "", "a\nw\nu:v"},
		{"<body>a</body><unheard xmlns='urn:x' k='v'><of>w</of></unheard>", event.Message, "", "a\nurn:x unheard k\nv\nof\nw"},
		{"<zz xmlns='urn:words in a namespace'/>", event.Message, "", "urn:words in a namespace zz"},
		{"<no-store xmlns='urn:some words'/>", event.Message, "", "urn:some words no-store"},
		{"<hello xmlns='http://jabber.org/protocol/chatstates'/>", event.Message, "", "http://jabber.org/protocol/chatstates hello"},
		{"<received xmlns='urn:xmpp:receipts' id='two words'/>", event.Message, "", "two words"},
		{"<displayed xmlns='urn:xmpp:chat-markers:0' id='1' note='x'/>", event.Message, "", "note\nx"},
		{"<body zz='y' xml:lang='en-GB'>x</body>", event.Message, "", "x\nzz\ny"},
		{"<body xml:lang='hello my friend'>x</body>", event.Message, "", "x\nhello my friend"},
		{"<body>x</body><z xmlns='urn:z' b='1' a='2'/>", event.Message, "", "x\nurn:z z a b\n2\n1"},
		{"<body>x</body><q:z xmlns:q='urn:z' a='2' b='1'/>", event.Message, "", "x\nurn:z z a b\n2\n1"},
		{"<body>x</body><reference xmlns='urn:xmpp:reference:0' begin='0' end='3' type='mention' uri='xmpp:bob@example.org'/>", event.Message, "", "x"},
		{"<body>x</body><reference xmlns='urn:xmpp:reference:0' begin='0' end='3' type='mention' uri='some words'/>", event.Message, "", "x\nsome words"},
		{"<body>x</body><reply to='desk@rooms.example.org/Jane Doe' id='abc' xmlns='urn:xmpp:reply:0'/>", event.Message, "", "x"},
		{"<body>x</body><encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:omemo:2' name='OMEMO'/>", event.Message, "", "x"},
		{"<body>x</body><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='5'/></fallback>", event.Message, "", "x"},
		{"<finish xmlns='urn:xmpp:jingle-message:0' id='1'/>", "", "", ""},
		{"<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", "", "", ""},
	} {
		m := Message(parse(t, "<message>"+tt.xml+"</message>"))
		got := m.Text()
		if m.Kind() != tt.kind || m.Refers() != tt.ref || strings.ReplaceAll(got, "  ", " ") != tt.text {
			t.Errorf("%s: %q, refers to %q, says %q; want %q, %q, %q", tt.xml, m.Kind(), m.Refers(), got, tt.kind, tt.ref, tt.text)
		}
	}
}

// TestWhatStandsAtTheStanza: servers may change it, so it is judged and not compared.
func TestWhatStandsAtTheStanza(t *testing.T) {
	for at, want := range map[string]string{
		"id='m1' type='chat' to='bob@example.org/desk' xml:lang='de'": "b",
		"id='my card is 4111'":                      "b\nmy card is 4111",
		"id='my-card-is-4111'":                      "b\nmy-card-is-4111",
		"id='4111111111111111'":                     "b\n4111111111111111",
		"id='0d2f1f7e-8a55-4b6d-9d3e-6a1f0e5c7b21'": "b",
		"id='" + strings.Repeat("4", 300) + "'":     "b\n" + strings.Repeat("4", 300),
		"zz='words'":                                "b\nzz\nwords",
		"type='bogus'":                              "b\nbogus",
		"xml:lang='hello my friend'":                "b\nhello my friend",
		"to='bob@example.org/hello my good friend'": "b\nhello my good friend",
		"xmlns:q='not used'":                        "b\nnot used",
	} {
		m := Message(parse(t, "<message "+at+"><body>b</body></message>"))
		if m.All() != want || m.Text() != "b" {
			t.Errorf("%s: %q, %q", at, m.All(), m.Text())
		}
		if m := Message(parse(t, "<message "+at+"/>")); (want != "b") != (m.Kind() == event.Message) {
			t.Errorf("%s: %q", at, m.Kind())
		}
	}
}

func TestPresenceSays(t *testing.T) {
	for xml, want := range map[string]string{
		"<presence/>": "",
		"<presence type='subscribe' to='bob@example.org'/>":                                                                          "",
		"<presence type='of words'/>":                                                                                                "of words",
		"<presence><show>dnd</show><priority>-5</priority></presence>":                                                               "",
		"<presence><show>busy with words</show></presence>":                                                                          "busy with words",
		"<presence><priority>4111 1111</priority></presence>":                                                                        "4111 1111",
		"<presence><status/></presence>":                                                                                             "",
		"<presence><status>at lunch</status><status xml:lang='de'>zu Tisch</status></presence>":                                      "at lunch\nzu Tisch",
		"<presence><status>x<y xmlns='urn:y'>z</y></status></presence>":                                                              "x\nurn:y y\nz",
		"<presence><nick xmlns='http://jabber.org/protocol/nick'>Al</nick></presence>":                                               "Al",
		"<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/></presence>":                            "",
		"<presence><c xmlns='http://jabber.org/protocol/caps' hash='h' node='n' ver='v' ext='two words'/></presence>":                "ext\ntwo words\nh",
		"<presence><x xmlns='vcard-temp:x:update'><photo>da39a3ee5e6b4b0d3255bfef95601890afd80709</photo></x></presence>":            "",
		"<presence><x xmlns='vcard-temp:x:update'><photo>da39a3ee</photo></x></presence>":                                            "da39a3ee",
		"<presence><x xmlns='http://jabber.org/protocol/muc'><password>secret</password><history maxstanzas='20'/></x></presence>":   "",
		"<presence><x xmlns='http://jabber.org/protocol/muc'><password>a whole sentence</password></x></presence>":                   "a whole sentence",
		"<presence><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none' nick='Al B'/></x></presence>": "",
		"<presence><x xmlns='http://jabber.org/protocol/muc#user'><item><reason>for being late</reason></item></x></presence>":       "for being late",
		"<presence><x xmlns='jabber:x:signed'>iQEcBAABAgAGBQJ two</x></presence>":                                                    "jabber:x:signed x\niQEcBAABAgAGBQJ two",
		"<presence>loose words</presence>":                                                                                           "loose words",
	} {
		if got := Presence(parse(t, xml)).All(); got != want {
			t.Errorf("%s says %q, want %q", xml, got, want)
		}
	}
}

// FuzzPresence holds what FuzzReadMessage does, for presence.
func FuzzPresence(f *testing.F) {
	for _, seed := range []string{"<status>4 4</status>", "<show>4 4</show>", "<x xmlns='vcard-temp:x:update'><photo>4 4</photo></x>", "4 4", "<a xmlns='urn:a'><b>4 4</b></a>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, inner string) {
		n, err := xmlstream.Parse([]byte("<presence>"+inner+"</presence>"), clientScope, xmlstream.DefaultLimits)
		if err != nil {
			return
		}
		says := Presence(n).All()
		for _, word := range wordsOf(n) {
			if !strings.Contains(says, word) {
				t.Errorf("%q is not in %q of %s", word, says, inner)
			}
		}
	})
}

func TestEncryptedMessages(t *testing.T) {
	for _, xml := range []string{
		"<encrypted xmlns='eu.siacs.conversations.axolotl'/>", "<encrypted xmlns='urn:xmpp:omemo:2'/>", "<openpgp xmlns='urn:xmpp:openpgp:0'>x</openpgp>",
		"<x xmlns='jabber:x:encrypted'>x</x>", "<body>?OTR:AAMC</body>", "<body>-----BEGIN PGP MESSAGE-----</body>",
	} {
		if m := Message(parse(t, "<message>"+xml+"</message>")); !m.Encrypted || m.Kind() != event.Message {
			t.Errorf("%s is %q, encrypted %v", xml, m.Kind(), m.Encrypted)
		}
	}
}

// FuzzReadMessage holds that no character data is lost: whatever stands between the tags of a message is part of what is judged.
func FuzzReadMessage(f *testing.F) {
	for _, seed := range []string{
		"<body>a &lt; b</body>", "<subject>4 4</subject>", "<x xmlns='jabber:x:oob'><url>u</url></x>", "<thread>4 4</thread>",
		"<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>4 4</reaction></reactions>",
		"<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>4 4</body></html>",
		"<a xmlns='urn:xmpp:carbons:2'><b>4 4</b></a>", "<encrypted xmlns='urn:xmpp:omemo:2'>4 4</encrypted>", "<body>x<y>4 4</y></body>",
		"<x xmlns='http://jabber.org/protocol/muc#user'><invite><reason>4 4</reason></invite></x>", "<error><text>4 4</text></error>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, inner string) {
		n, err := xmlstream.Parse([]byte("<message>"+inner+"</message>"), clientScope, xmlstream.DefaultLimits)
		if err != nil {
			return
		}
		m := Message(n)
		said := m.Text() + "\n" + m.Subject
		for _, word := range wordsOf(n) {
			if !m.Encrypted && !strings.Contains(said, word) {
				t.Errorf("%q is not in %q of %s", word, said, inner)
			}
		}
		if len(wordsOf(n)) > 0 && m.Kind() == "" {
			t.Errorf("%s says something and would not be judged", inner)
		}
	})
}

// wordsOf returns the texts of all elements that hold at least two words, those of XHTML apart: it may be judged by its plain twin.
func wordsOf(n *xmlstream.Node) []string {
	if n.Space == "http://jabber.org/protocol/xhtml-im" {
		return nil
	}
	var out []string
	if text := n.Text; strings.Contains(strings.TrimSpace(text), " ") {
		out = append(out, text)
	}
	for _, c := range n.Children {
		out = append(out, wordsOf(c)...)
	}
	return out
}

// TestStamps: what a message says of its time is taken where a record can hold it, and is no time otherwise.
func TestStamps(t *testing.T) {
	for stamp, want := range map[string]string{
		"2026-03-01T08:00:00Z":           "2026-03-01T08:00:00Z",
		"2026-03-01T08:00:00.123456789Z": "2026-03-01T08:00:00.123456789Z",
		"2026-03-01T08:00:00+05:30":      "2026-03-01T02:30:00Z",
		"0000-01-01T00:00:00+12:00":      "", // the year -1 in UTC
		"0000-01-01T12:00:00Z":           "0000-01-01T12:00:00Z",
		"":                               "", "yesterday": "", "1767225600": "", "2026-02-30T08:00:00Z": "", "20260301T08:00:00": "", "-2026-03-01T08:00:00Z": "",
	} {
		m := Message(parse(t, "<message><body>x</body><delay xmlns='urn:xmpp:delay' stamp='"+stamp+"'/></message>"))
		got := ""
		if !m.Stamp.IsZero() {
			got = m.Stamp.UTC().Format(time.RFC3339Nano)
		}
		if got != want || !m.Delayed {
			t.Errorf("%q is %q, want %q", stamp, got, want)
		}
		if _, err := event.Canonical(&event.Header{Version: event.FormatVersion, Time: m.Stamp}); err != nil && m.Stamp.Before(time.Now()) {
			t.Errorf("%q gives a time that no record can hold: %v", stamp, err)
		}
	}
}
