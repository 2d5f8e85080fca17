package xmpp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/event"
)

const card = "4111 1111 1111 1111"

// bound is a raw client with a resource.
func (s *setting) bound(user string) *xmpptest.Raw {
	s.t.Helper()
	r := s.raw(user)
	if err := r.Bind(s.ctx, "raw"); err != nil {
		s.t.Fatal(err)
	}
	if err := r.Send("<presence/>"); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// until reads what comes up to a message with that id, and returns all of it.
func (s *setting) until(r *xmpptest.Raw, id string) []*xmpptest.Stanza {
	s.t.Helper()
	var got []*xmpptest.Stanza
	for {
		m, err := r.Next(s.ctx, func(*xmpptest.Stanza) bool { return true })
		if err != nil {
			s.t.Fatal(err)
		}
		if m.Attr("id") == id {
			return got
		}
		got = append(got, m)
	}
}

func TestNoWordsInAnIQ(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.bound("alice"), s.bound("bob")
	for i, x := range []string{
		"type='get'><query xmlns='urn:x'>" + card + "</query>",
		"type='set'><query xmlns='urn:x' a='" + card + "'/>",
		"type='result'><query xmlns='urn:x'>" + card + "</query>",
		"type='result'>" + card,
		"type='get'><query xmlns='urn:" + card + "'/>",
		"type='error'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>" + card + "</text></error>",
		"type='get'><ping xmlns='urn:xmpp:ping'>" + card + "</ping>",
		"type='get'><query xmlns='http://jabber.org/protocol/disco#info' node='" + card + "'/>",
		"type='result'><query xmlns='jabber:iq:version'><name>" + card + "</name></query>",
		"type='result'><query xmlns='jabber:iq:last' seconds='1'>" + card + "</query>",
		"type='set'><command xmlns='http://jabber.org/protocol/commands' node='x'><note>" + card + "</note></command>",
		"type='set'><vCard xmlns='vcard-temp'><FN>" + card + "</FN></vCard>",
		"type='result'><data xmlns='urn:xmpp:bob' cid='x' type='image/png'>aGVsbG8=</data>",
		"type='set'><open xmlns='http://jabber.org/protocol/ibb' sid='s' block-size='4096'/>",
		"type='set'><data xmlns='http://jabber.org/protocol/ibb' sid='s' seq='0'>aGVsbG8=</data>",
		"type='set'><jingle xmlns='urn:xmpp:jingle:1' action='session-info' sid='s'><note xmlns='urn:xmpp:jingle:1' a='" + card + "'/></jingle>",
		"type='set'><jingle xmlns='urn:xmpp:jingle:1' action='transport-replace' sid='s'><content name='x'><transport xmlns='urn:xmpp:jingle:transports:ibb:1' sid='s'/></content></jingle>",
		"type='set'><jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s'><content name='" + card + "'><description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></content></jingle>",
		"type='get'><ping xmlns='urn:xmpp:ping'/><b xmlns='urn:x'>" + card + "</b>",
	} {
		id := fmt.Sprintf("q%d", i)
		if err := alice.Send("<iq to='" + bob.JID + "' id='" + id + "' " + x + "</iq>"); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(x, "type='result'") || strings.HasPrefix(x, "type='error'") {
			continue
		}
		m, err := alice.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == id })
		if err != nil || m.Attr("type") != "error" || m.ErrorText() == "" {
			t.Fatalf("%s was not refused: %v %+v", x, err, m)
		}
	}
	if err := alice.Send("<message to='" + bob.JID + "' id='mdata'><data xmlns='http://jabber.org/protocol/ibb' sid='s' seq='1'>aGVsbG8=</data></message>"); err != nil {
		t.Fatal(err)
	}
	alice.Send("<message to='" + bob.JID + "' id='last' type='chat'><body>done</body></message>")
	for _, m := range s.until(bob, "last") {
		instead := m.Local == "iq" && m.Attr("type") == "error" && strings.Contains(m.XML, "policy-violation") && m.ErrorText() == "cancel" // of an answer
		if m.Attr("from") == alice.JID && m.Local != "presence" && !instead {
			t.Errorf("bob got %s", m.XML)
		}
	}
	for _, e := range s.journal.find(event.Message, "4111") {
		if e.Verdict.Action != event.Block || len(e.Raw) == 0 || e.From.Handle != "alice@example.org" || e.To[0].Handle != "bob@example.org" {
			t.Errorf("recorded %+v", e)
		}
	}
}

// TestWhatClientsAskEachOther passes, both ways, without a record.
func TestWhatClientsAskEachOther(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.bound("alice"), s.bound("bob")
	for i, x := range [][2]string{
		{"<ping xmlns='urn:xmpp:ping'/>", ""},
		{"<query xmlns='http://jabber.org/protocol/disco#info' node='http://gajim.org#x+y='/>", "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='pc' name='Gajim 1.8' xml:lang='en'/><feature var='urn:xmpp:ping'/></query>"},
		{"<query xmlns='jabber:iq:version'/>", "<query xmlns='jabber:iq:version'><name>Dino</name><version>0.4.0</version><os>Debian GNU/Linux 12</os></query>"},
		{"<time xmlns='urn:xmpp:time'/>", "<time xmlns='urn:xmpp:time'><tzo>+01:00</tzo><utc>2026-11-25T18:00:00Z</utc></time>"},
		{"<query xmlns='jabber:iq:last'/>", "<query xmlns='jabber:iq:last' seconds='12'/>"},
	} {
		id := fmt.Sprintf("a%d", i)
		alice.Send("<iq type='get' to='" + bob.JID + "' id='" + id + "'>" + x[0] + "</iq>")
		if _, err := bob.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == id }); err != nil {
			t.Fatalf("%s: %v", x[0], err)
		}
		bob.Send("<iq type='result' to='" + alice.JID + "' id='" + id + "'>" + x[1] + "</iq>")
		if m, err := alice.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == id }); err != nil || m.Attr("type") != "result" {
			t.Fatalf("%s: %v %+v", x[1], err, m)
		}
	}
	s.count(event.Message, "", 0)
}

// TestWordsInAnIQAreRecordedOnce: when policy lets them pass, also through a room, which gives iqs ids of its own.
func TestWordsInAnIQAreRecordedOnce(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.bound("alice"), s.bound("bob")
	alice.Send("<iq type='set' to='" + bob.JID + "' id='w1'><x xmlns='urn:x' b='one' a='two'>hello in an iq</x></iq>")
	if _, err := bob.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == "w1" }); err != nil {
		t.Fatal(err)
	}
	e := s.count(event.Message, "hello in an iq", 1)[0]
	if e.Text != "urn:x x a b\ntwo\none\nhello in an iq" || len(e.Evidence) != 0 {
		t.Errorf("recorded %+v", e)
	}
	const room = "desk@rooms.example.org"
	for r, nick := range map[*xmpptest.Raw]string{alice: "Al", bob: "Bo"} {
		r.Send("<presence to='" + room + "/" + nick + "'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
		if _, err := r.Next(s.ctx, func(m *xmpptest.Stanza) bool { return strings.Contains(m.XML, "'110'") }); err != nil {
			t.Fatal(err)
		}
	}
	alice.Send("<iq type='set' to='" + room + "/Bo' id='w2'><x xmlns='urn:x'>hello in a room</x></iq>")
	if _, err := bob.Next(s.ctx, func(m *xmpptest.Stanza) bool { return strings.Contains(m.XML, "hello in a room") }); err != nil {
		t.Fatal(err)
	}
	s.count(event.Message, "hello in a room", 1)
	alice.Send("<iq type='get' to='" + room + "/Bo' id='w3'><ping xmlns='urn:xmpp:ping'/></iq>")
	if _, err := bob.Next(s.ctx, func(m *xmpptest.Stanza) bool { return strings.Contains(m.XML, "urn:xmpp:ping") }); err != nil {
		t.Fatal(err)
	}
	s.count(event.Message, "", 2)
}

func TestWhatOthersAreShownIsJudged(t *testing.T) {
	s := start(t, nil)
	alice := s.bound("alice")
	const room = "desk@rooms.example.org"
	alice.Send("<presence to='" + room + "/Al'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
	for i, x := range []string{
		"><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:microblog:0'><item id='1'><entry xmlns='http://www.w3.org/2005/Atom'><title>" + card + "</title></entry></item></publish></pubsub>",
		"><vCard xmlns='vcard-temp'><FN>" + card + "</FN></vCard>",
		" to='" + room + "'><query xmlns='http://jabber.org/protocol/muc#admin'><item nick='Bo' role='none'><reason>" + card + "</reason></item></query>",
		" to='" + room + "'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'><field var='muc#roomconfig_roomname'><value>" + card + "</value></field></x></query>",
	} {
		id := fmt.Sprintf("p%d", i)
		alice.Send("<iq type='set' id='" + id + "'" + x + "</iq>")
		m, err := alice.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == id })
		if err != nil || m.Attr("type") != "error" || !strings.Contains(m.ErrorText(), "Card numbers") {
			t.Fatalf("%s was not refused: %v %+v", x, err, m)
		}
	}
	s.count(event.Message, card, 4)
}

// TestNothingOfOursIsTakenForABypass, whatever the server makes of the order of attributes.
func TestNothingOfOursIsTakenForABypass(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.bound("alice"), s.bound("bob")
	for i, x := range []string{
		"<zz xmlns='urn:x' sid='s' b='q' c='d' a='e'/>",
		"<zz xmlns='urn:x' sid='s' b='q' c='d' a='e'><k:y xmlns:k='urn:k' k:b='1' k:a='2' a='3'/></zz>",
		"<reply to='bob@example.org/dv' id='abc' xmlns='urn:xmpp:reply:0'/>",
		"<reference xmlns='urn:xmpp:reference:0' begin='0' end='3' type='mention' uri='xmpp:bob@example.org'/>",
		"<encryption xmlns='urn:xmpp:eme:0' namespace='urn:x' name='N'/>",
		"<markable xmlns='urn:xmpp:chat-markers:0'/><origin-id xmlns='urn:xmpp:sid:0' id='o1'/>",
	} {
		id := fmt.Sprintf("v%d", i)
		alice.Send("<message to='" + bob.JID + "' zz='attribute' xml:lang='no language at all' id='" + id + "' type='chat'><body>hello</body>" + x + "</message>")
		if _, err := bob.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == id }); err != nil {
			t.Fatalf("%s: %v", x, err)
		}
	}
	alice.Send("<message to='" + bob.JID + "' type='chat'><body>hello</body><zz xmlns='urn:x' sid='s' b='q' c='d' a='e'/></message>")
	alice.Send("<message to='" + bob.JID + "' id='last' type='chat'><body>done</body></message>")
	s.until(bob, "last")
	for _, e := range s.count(event.Message, "", 8) {
		if len(e.Evidence) > 0 {
			t.Errorf("accused: %+v", e)
		}
	}
}

// notice waits for words of the gateway that are no error.
func (s *setting) notice(r *xmpptest.Raw) string {
	s.t.Helper()
	m, err := r.Next(s.ctx, func(m *xmpptest.Stanza) bool {
		return m.Local == "message" && m.Attr("from") == domain && m.Attr("type") != "error"
	})
	if err != nil {
		s.t.Fatalf("no notice: %v", err)
	}
	return m.Body()
}

// TestARefusedAnswerHangsNobody: who answered is told in a message, and who asked gets an error in place of the answer.
func TestARefusedAnswerHangsNobody(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.bound("alice"), s.bound("bob")
	for i, kind := range []string{"result", "error", "result"} {
		id := "q" + string(rune('a'+i))
		s.put(bob, "<iq type='get' to='"+alice.JID+"' id='"+id+"'><query xmlns='jabber:iq:version'/></iq>")
		if _, err := alice.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == id }); err != nil {
			t.Fatal(err)
		}
		s.put(alice, "<iq type='"+kind+"' to='"+bob.JID+"' id='"+id+"'><query xmlns='jabber:iq:version'><name>"+card+"</name></query></iq>")
		m, err := bob.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == id })
		if err != nil || m.Attr("type") != "error" || m.Attr("from") != alice.JID || !strings.Contains(m.XML, "policy-violation") || strings.Contains(m.XML, "4111") {
			t.Fatalf("bob got %+v %v", m, err)
		}
		if i > 0 {
			continue
		}
		if words := s.notice(alice); !strings.Contains(words, "Card numbers") {
			t.Errorf("alice was told %q", words)
		}
	}
	s.put(alice, "<message to='"+alice.JID+"' id='last' type='chat'><body>done</body></message>")
	for _, m := range s.until(alice, "last") {
		if m.Local == "message" && m.Attr("from") == domain {
			t.Errorf("alice was told again: %s", m.XML)
		}
	}
	s.count(event.Message, "4111", 3)
	s.count(event.Message, "", 4)
}
