package xmpp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/event"
)

func TestEditsRetractionsReactionsAndReceipts(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.dial("alice"), s.dial("bob")
	alice.Say(s.ctx, "bob@example.org", "m1", "lunch at noon")
	s.message(bob, "m1")
	first := s.count(event.Message, "lunch", 1)[0]
	for _, tt := range []struct {
		from, to *xmpptest.Client
		id, xml  string
		kind     event.Kind
		text     string
	}{
		{alice, bob, "e1", "<body>lunch at one</body><replace id='m1' xmlns='urn:xmpp:message-correct:0'/>", event.Edit, "at one"},
		{bob, alice, "r1", "<reactions id='m1' xmlns='urn:xmpp:reactions:0'><reaction>\U0001F44D</reaction></reactions><store xmlns='urn:xmpp:hints'/>", event.Reaction, "\U0001F44D"},
		{bob, alice, "c1", "<received xmlns='urn:xmpp:receipts' id='m1'/><store xmlns='urn:xmpp:hints'/>", event.Delivery, event.Received},
		{bob, alice, "d1", "<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/><store xmlns='urn:xmpp:hints'/>", event.Delivery, event.Read},
		{alice, bob, "x1", "<retract id='m1' xmlns='urn:xmpp:message-retract:1'/><body>taken back</body>", event.Retraction, "taken back"},
		{alice, bob, "x0", "<apply-to id='m1' xmlns='urn:xmpp:fasten:0'><retract xmlns='urn:xmpp:message-retract:0'/></apply-to><body>old way</body>", event.Retraction, "old way"},
	} {
		to := tt.to.JID()
		to = to[:strings.Index(to, "/")]
		s.send(tt.from, fmt.Sprintf("<message to='%s' type='chat' id='%s'>%s</message>", to, tt.id, tt.xml))
		s.message(tt.to, tt.id)
		e := s.count(tt.kind, tt.text, 1)[0]
		if e.Refers != first.ID || e.NativeRefs != "m1" && tt.kind != event.Delivery {
			t.Errorf("%s refers to %q (%s), want %q", tt.id, e.Refers, e.NativeRefs, first.ID)
		}
	}
}

func TestTextHidesNowhere(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.dial("alice"), s.dial("bob")
	const card = "4111 1111 1111 1111"
	hidden := []string{
		"<x xmlns='urn:example:unheard-of'>" + card + "</x>",
		"<x xmlns='urn:example:unheard-of' note='" + card + "'/>",
		"<active xmlns='http://jabber.org/protocol/chatstates'>" + card + "</active>",
		"<body>hi</body><html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><p>" + card + "</p></body></html>",
		"<body>hi</body><body xml:lang='de'>" + card + "</body>",
		"<subject>" + card + "</subject>",
		"<subject>" + card + "</subject><body>hi</body>",
		"<body>hi</body><x xmlns='jabber:x:oob'><url>https://x.example/</url><desc>" + card + "</desc></x>",
		"<x xmlns='jabber:x:conference' jid='a@rooms.example.org' reason='" + card + "'/>",
		"<reactions id='m' xmlns='urn:xmpp:reactions:0'><reaction>" + card + "</reaction></reactions>",
		"<received xmlns='urn:xmpp:receipts' id='1'>" + card + "</received>",
		"<thread>" + card + "</thread>",
		"<body>4111 <![CDATA[1111]]> 11&#49;1 1111</body>",
		"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='x@example.org'><body>" + card + "</body></message></forwarded>",
		"<result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>" + card + "</body></message></forwarded></result>",
		"<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>" + card + "</body></message></forwarded></received>",
		card,
		"<encrypted xmlns='eu.siacs.conversations.axolotl'><payload>AAAA</payload></encrypted><body>I sent you an OMEMO encrypted message</body>",
		"<body>?OTRv23?</body>",
	}
	r := s.raw("alice")
	if err := r.Bind(s.ctx, "raw"); err != nil {
		t.Fatal(err)
	}
	for i, x := range hidden {
		id := fmt.Sprintf("h%d", i)
		if err := r.Send("<message to='bob@example.org' type='chat' id='" + id + "'>" + x + "</message>"); err != nil {
			t.Fatal(err)
		}
		m, err := r.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == id })
		if err != nil || m.Attr("type") != "error" || m.ErrorText() == "" {
			t.Fatalf("%s was not refused: %v", x, err)
		}
	}
	alice.Say(s.ctx, "bob@example.org", "last", "done")
	for {
		m, err := bob.Next(s.ctx, isMessage)
		if err != nil {
			t.Fatal(err)
		}
		if m.Attr("id") == "last" {
			break
		}
		t.Errorf("bob got %s", m.XML)
	}
}

// TestNoWordsInAnID: an id that reads like words is judged as words, whatever it stands at, and what passes keeps it.
func TestNoWordsInAnID(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.bound("alice"), s.bound("bob")
	const stop, pass = "buy-EICAR-today", "meet-at-noon"
	const state, ping = "<active xmlns='http://jabber.org/protocol/chatstates'/>", "<ping xmlns='urn:xmpp:ping'/>"
	for _, x := range []string{
		"<message to='bob@example.org' type='chat' id='" + stop + "'><body>hello</body></message>",
		"<message to='" + bob.JID + "' type='chat' id='" + stop + "'>" + state + "</message>",
		"<message to='" + bob.JID + "' type='chat' id='" + stop + "'><received xmlns='urn:xmpp:receipts' id='m1'/></message>",
		"<iq to='" + bob.JID + "' type='get' id='" + stop + "'>" + ping + "</iq>",
		"<presence to='bob@example.org' type='subscribe' id='" + stop + "'/>",
	} {
		s.put(alice, x)
		m, err := alice.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == stop })
		if err != nil || m.Attr("type") != "error" {
			t.Fatalf("%s was not refused: %+v %v", x, m, err)
		}
	}
	s.put(alice, "<message to='"+bob.JID+"' type='chat' id='"+pass+"'>"+state+"</message>")
	s.put(alice, "<message to='"+bob.JID+"' type='chat' id='0d2f1f7e-8a55-4b6d-9d3e-6a1f0e5c7b21'>"+state+"</message>")
	s.put(alice, "<message to='"+bob.JID+"' id='last' type='chat'><body>done</body></message>")
	var ids []string
	for _, m := range s.until(bob, "last") {
		if m.Local == "message" {
			ids = append(ids, m.Attr("id"))
		}
	}
	if len(ids) != 2 || ids[0] != pass {
		t.Errorf("bob got %q", ids)
	}
	if e := s.count(event.Message, pass, 1)[0]; e.Text != pass || len(e.Evidence) != 0 {
		t.Errorf("recorded %+v", e)
	}
	s.count(event.Message, "", 7)
}

func TestChatStatesPassWithoutARecord(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.dial("alice"), s.dial("bob")
	alice.Say(s.ctx, bob.JID(), "m1", "x") // so that bob's server lets states through
	s.message(bob, "m1")
	s.send(alice, "<message to='"+bob.JID()+"' type='chat' id='s1'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
	s.message(bob, "s1")
	s.count(event.Message, "", 1)
}

func (s *setting) join(c *xmpptest.Client, room, nick string) {
	s.t.Helper()
	s.send(c, "<presence to='"+room+"/"+nick+"'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
	if _, err := c.Next(s.ctx, func(p *xmpptest.Stanza) bool {
		return p.Local == "presence" && p.Attr("from") == room+"/"+nick && strings.Contains(p.XML, `"110"`)
	}); err != nil {
		s.t.Fatalf("join %s: %v", nick, err)
	}
}

func TestRooms(t *testing.T) {
	s := start(t, nil)
	alice, bob, carol := s.dial("alice"), s.dial("bob"), s.dial("carol")
	const room = "desk@rooms.example.org"
	s.join(alice, room, "Al")
	s.join(bob, room, "Bo")
	s.join(carol, room, "Ca")
	s.count(event.Join, room, 3)
	s.send(alice, "<message to='"+room+"' type='groupchat' id='g1'><body>good morning</body></message>")
	for _, c := range []*xmpptest.Client{alice, bob, carol} {
		if m := s.message(c, "g1"); m.Attr("from") != room+"/Al" {
			t.Errorf("from %s", m.Attr("from"))
		}
	}
	e := s.count(event.Message, "good morning", 1)[0]
	if e.Room.Name != room || e.From.Handle != "alice@example.org" || len(e.Audience) != 3 {
		t.Errorf("recorded %+v", e)
	}
	s.send(bob, "<message to='"+room+"/Al' type='chat' id='p1'><body>between us</body><x xmlns='http://jabber.org/protocol/muc#user'/></message>")
	s.message(alice, "p1")
	if e := s.count(event.Message, "between us", 1)[0]; e.To[0].Handle != "alice@example.org" || e.From.Handle != "bob@example.org" || e.Room.Name != "" {
		t.Errorf("recorded %+v", e)
	}
	s.send(bob, "<message to='"+room+"' type='groupchat' id='g2'><body>4111 1111 1111 1111</body></message>")
	if m := s.message(bob, "g2"); m.Attr("type") != "error" {
		t.Errorf("bob got %s", m.XML)
	}
	s.send(alice, "<message to='"+room+"' type='groupchat' id='g3'><subject>numbers</subject></message>")
	for {
		m, err := carol.Next(s.ctx, isMessage)
		if err != nil {
			t.Fatal(err)
		}
		if m.Attr("id") == "g2" {
			t.Errorf("carol got %s", m.XML)
		}
		if strings.Contains(m.XML, "numbers") { // the server gives it no id
			break
		}
	}
	s.count(event.RoomChange, "numbers", 1)
	// history and subject for somebody who comes later are no second records
	dave := s.dial("dave")
	s.join(dave, room, "Da")
	s.message(dave, "g1")
	s.send(dave, "<presence to='"+room+"/Da' type='unavailable'/>")
	s.count(event.Leave, room, 1)
	s.count(event.Message, "good morning", 1)
	s.count(event.RoomChange, "numbers", 1)
	// a wall
	s.send(alice, "<presence to='walled@rooms.example.org/Al'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
	p, err := alice.Next(s.ctx, func(p *xmpptest.Stanza) bool { return p.Local == "presence" && p.Attr("type") == "error" })
	if err != nil || !strings.Contains(p.ErrorText(), "ethical wall") {
		t.Errorf("%v %+v", err, p)
	}
}

func TestReactionInARoomRefersToItsMessage(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.dial("alice"), s.dial("bob")
	const room = "desk@rooms.example.org"
	s.join(alice, room, "Al")
	s.join(bob, room, "Bo")
	s.send(alice, "<message to='"+room+"' type='groupchat' id='g1'><body>ship it?</body></message>")
	m := s.message(bob, "g1")
	sid := m.Child("urn:xmpp:sid:0", "stanza-id")
	if sid == nil {
		t.Fatalf("no stanza-id in %s", m.XML)
	}
	s.send(bob, "<message to='"+room+"' type='groupchat' id='r1'><reactions id='"+sid.Attr("id")+"' xmlns='urn:xmpp:reactions:0'><reaction>yes</reaction></reactions></message>")
	s.message(alice, "r1")
	first, reaction := s.count(event.Message, "ship it", 1)[0], s.count(event.Reaction, "yes", 1)[0]
	if reaction.Refers != first.ID {
		t.Errorf("refers to %q, want %q", reaction.Refers, first.ID)
	}
}

func TestCopiesAreNoSecondRecords(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.dial("alice"), s.dial("bob")
	second := s.login("bob")
	second.JID = "bob@example.org/phone"
	phone := s.dialAs(second)
	for _, c := range []*xmpptest.Client{bob, phone} {
		s.send(c, "<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
		if _, err := c.Next(s.ctx, func(i *xmpptest.Stanza) bool { return i.Local == "iq" && i.Attr("id") == "carbons" }); err != nil {
			t.Fatal(err)
		}
	}
	alice.Say(s.ctx, bob.JID(), "m1", "to the desk only")
	s.message(bob, "m1")
	inCarbon := func(text string) func(*xmpptest.Stanza) bool {
		return func(m *xmpptest.Stanza) bool {
			return strings.Contains(m.XML, "urn:xmpp:carbons:2") && strings.Contains(m.XML, text)
		}
	}
	if _, err := phone.Next(s.ctx, inCarbon("to the desk only")); err != nil {
		t.Fatal(err)
	}
	bob.Say(s.ctx, "alice@example.org", "m2", "sent from the desk")
	s.message(alice, "m2")
	if _, err := phone.Next(s.ctx, inCarbon("sent from the desk")); err != nil {
		t.Fatal(err)
	}
	s.send(phone, "<iq type='set' id='mam'><query xmlns='urn:xmpp:mam:2' queryid='q'/></iq>")
	results := 0
	if _, err := phone.Next(s.ctx, func(m *xmpptest.Stanza) bool {
		if strings.Contains(m.XML, "urn:xmpp:mam:2") && m.Local == "message" {
			results++
		}
		return m.Local == "iq" && m.Attr("id") == "mam"
	}); err != nil || results != 2 {
		t.Fatalf("%v, %d results", err, results)
	}
	s.count(event.Message, "", 2)
}

func TestWhatComesAroundTheGatewayIsJudgedAtFirstSight(t *testing.T) {
	s := start(t, nil)
	alice := s.dial("alice")
	l := s.login("bob")
	l.Address, l.TLS = s.prosody.Address, s.prosody.TLS() // straight to the server
	bob := s.dialAs(l)
	bob.Say(s.ctx, "alice@example.org", "b1", "around the gateway")
	s.message(alice, "b1")
	e := s.count(event.Message, "around", 1)[0]
	if e.From.Handle != "bob@example.org" || len(e.Evidence) != 1 || e.Evidence[0].Fact != "by-pass" {
		t.Errorf("recorded %+v", e)
	}
	bob.Say(s.ctx, "alice@example.org", "b2", "4111 1111 1111 1111")
	if m := s.message(bob, "b2"); m.Attr("type") != "error" || !strings.Contains(m.ErrorText(), "Card numbers") {
		t.Errorf("bob got %s", m.XML)
	}
	bob.Say(s.ctx, "alice@example.org", "b3", "done")
	for {
		m, err := alice.Next(s.ctx, isMessage)
		if err != nil {
			t.Fatal(err)
		}
		if m.Attr("id") == "b3" {
			break
		}
		t.Errorf("alice got %s", m.XML)
	}
}

func TestCallsAndPeerToPeerFiles(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.dial("alice"), s.dial("bob")
	s.send(alice, "<iq type='set' id='j1' to='"+bob.JID()+"'><jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s1'><content creator='initiator' name='voice'><description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></content></jingle></iq>")
	if _, err := bob.Next(s.ctx, func(i *xmpptest.Stanza) bool { return i.Local == "iq" && i.Attr("id") == "j1" }); err != nil {
		t.Fatal(err)
	}
	if e := s.count(event.Call, event.CallOffered, 1)[0]; e.CallDetail.Media != "audio" {
		t.Errorf("recorded %+v", e.CallDetail)
	}
	s.send(alice, "<iq type='set' id='j2' to='"+bob.JID()+"'><jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s2'><content creator='initiator' name='f'><description xmlns='urn:xmpp:jingle:apps:file-transfer:5'><file><name>plan.pdf</name></file></description></content></jingle></iq>")
	i, err := alice.Next(s.ctx, func(i *xmpptest.Stanza) bool { return i.Local == "iq" && i.Attr("id") == "j2" })
	if err != nil || i.Attr("type") != "error" {
		t.Fatalf("%v %+v", err, i)
	}
	s.count(event.FileUpload, "plan.pdf", 1)
}
