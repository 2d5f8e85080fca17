package xmpp_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/event"
)

// friends makes two people see each other's presence.
func (s *setting) friends(a, b *xmpptest.Raw) {
	s.t.Helper()
	for _, r := range []*xmpptest.Raw{a, b} {
		s.put(r, "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
		if _, err := r.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == "roster" }); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, side := range [][2]*xmpptest.Raw{{a, b}, {b, a}} {
		from, to := side[0], side[1]
		s.put(from, "<presence type='subscribe' to='"+bareOf(to)+"'/>")
		s.hear(to, "subscribe")
		s.put(to, "<presence type='subscribed' to='"+bareOf(from)+"'/>")
		s.hear(from, "subscribed")
	}
}

// hear waits for a presence of a type.
func (s *setting) hear(r *xmpptest.Raw, kind string) *xmpptest.Stanza {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, 2*time.Minute)
	defer cancel()
	p, err := r.Next(ctx, func(m *xmpptest.Stanza) bool { return m.Local == "presence" && m.Attr("type") == kind })
	if err != nil {
		s.t.Fatalf("no presence %q: %v", kind, err)
	}
	return p
}

func TestStatusTextsAreJudgedAndRecordedOnce(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.bound("alice"), s.bound("bob")
	s.friends(alice, bob)
	const machine = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://gajim.org' ver='iBhBpA+a1='/><priority>-1</priority><show>away</show>" +
		"<x xmlns='vcard-temp:x:update'><photo>da39a3ee5e6b4b0d3255bfef95601890afd80709</photo></x><idle xmlns='urn:xmpp:idle:1' since='2026-11-25T19:00:00Z'/>"
	s.put(alice, "<presence>"+machine+"</presence>")
	for range 2 {
		s.put(alice, "<presence><status>in Basel until Friday</status>"+machine+"</presence>")
		for !strings.Contains(s.hear(bob, "").XML, "Basel") {
		}
	}
	e := s.count(event.Message, "Basel", 1)[0]
	if e.Text != "in Basel until Friday" || e.From.Handle != "alice@example.org" || len(e.Audience) != 1 || e.Audience[0].Handle != "bob@example.org" ||
		len(e.Facts) != 1 || e.Facts[0].Value != "presence" || len(e.Evidence) != 0 {
		t.Errorf("recorded %+v", e)
	}
	s.put(alice, "<presence><status>card "+card+"</status></presence>")
	if p := s.hear(alice, "error"); !strings.Contains(p.ErrorText(), "Card numbers") {
		t.Errorf("alice got %s", p.XML)
	}
	if words := s.notice(alice); !strings.Contains(words, "Card numbers") {
		t.Errorf("alice was told %q", words)
	}
	s.put(alice, "<presence type='unavailable'><status>gone home</status></presence>")
	for {
		p, err := bob.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Local == "presence" })
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(p.XML, "4111") {
			t.Errorf("bob saw %s", p.XML)
		}
		if p.Attr("type") == "unavailable" {
			break
		}
	}
	if e := s.count(event.Message, "4111", 1)[0]; e.Verdict.Action != event.Block {
		t.Errorf("recorded %+v", e)
	}
	s.count(event.Message, "", 3)
}

// TestAStatusThatNobodyKnowsTheAudienceOfMayLeave: a client that never asked for its roster is still shown to those who are subscribed, and
// the user's other client cannot tell the gateway that there are none.
func TestAStatusThatNobodyKnowsTheAudienceOfMayLeave(t *testing.T) {
	s := start(t, nil)
	alice := s.bound("alice")
	other := s.raw("alice")
	if err := other.Bind(s.ctx, "other"); err != nil {
		t.Fatal(err)
	}
	s.put(other, "<iq type='result' id='forged' to='"+alice.JID+"'><query xmlns='jabber:iq:roster'/></iq>")
	if _, err := alice.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == "forged" }); err != nil {
		t.Fatal(err)
	}
	s.put(alice, "<presence><status>on the road</status></presence>")
	if e := s.count(event.Message, "on the road", 1)[0]; len(e.Facts) != 2 || e.Facts[1] != (event.Fact{Name: "leaves_org", Value: "true"}) {
		t.Errorf("recorded %+v", e.Facts)
	}
}

func TestNoWordsInNamesAndRequests(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.bound("alice"), s.bound("bob")
	const room = "desk@rooms.example.org"
	const muc = "<x xmlns='http://jabber.org/protocol/muc'/>"
	refused := func(xml string) {
		t.Helper()
		s.put(alice, xml)
		if p := s.hear(alice, "error"); !strings.Contains(p.ErrorText(), "Card numbers") {
			t.Errorf("%s: %s", xml, p.XML)
		}
	}
	refused("<presence to='" + room + "/" + card + "'>" + muc + "</presence>")
	refused("<presence to='" + room + "/Al'>" + muc + "<status>" + card + "</status></presence>")
	for nick, r := range map[string]*xmpptest.Raw{"Al": alice, "Bo": bob} {
		s.put(r, "<presence to='"+room+"/"+nick+"'>"+muc+"</presence>")
		if _, err := r.Next(s.ctx, func(m *xmpptest.Stanza) bool { return strings.Contains(m.XML, "'110'") }); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range s.count(event.Join, "", 4) {
		if first, _, _ := strings.Cut(e.Text, "\n"); first != "Al" && first != "Bo" && first != card {
			t.Errorf("recorded %+v", e)
		}
	}
	refused("<presence to='" + room + "/" + card + "'/>")
	refused("<presence to='" + room + "/Al'><status>" + card + "</status></presence>")
	refused("<presence to='bob@example.org' type='subscribe'><status>" + card + "</status></presence>")
	refused("<presence to='bob@example.org' type='subscribe'><nick xmlns='http://jabber.org/protocol/nick'>" + card + "</nick></presence>")
	s.put(alice, "<presence to='"+room+"/Ali'/>")
	if _, err := alice.Next(s.ctx, func(m *xmpptest.Stanza) bool {
		return m.Attr("from") == room+"/Ali" && strings.Contains(m.XML, "'110'")
	}); err != nil {
		t.Fatal(err)
	}
	s.put(alice, "<presence to='"+room+"/Ali'><status>at lunch</status></presence>")
	for {
		p, err := bob.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Local == "presence" })
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(p.XML, "4111") {
			t.Errorf("bob saw %s", p.XML)
		}
		if strings.Contains(p.XML, "at lunch") {
			break
		}
	}
	if e := s.count(event.Message, "Ali", 1)[0]; e.Room.Name != room || len(e.Audience) != 2 {
		t.Errorf("recorded %+v", e)
	}
	s.count(event.Message, "at lunch", 1)
	s.count(event.Message, "4111", 4)
}

// TestPresenceAroundTheGateway is judged where it is first seen.
func TestPresenceAroundTheGateway(t *testing.T) {
	s := start(t, nil)
	alice := s.bound("alice")
	l := s.login("bob")
	l.Address, l.TLS = s.prosody.Address, s.prosody.TLS()
	bob, err := xmpptest.DialRaw(s.ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	defer bob.Close()
	if err := bob.Bind(s.ctx, "desk"); err != nil {
		t.Fatal(err)
	}
	s.put(bob, "<presence/>")
	s.friends(alice, bob)
	s.put(bob, "<presence><status>"+card+"</status></presence>")
	if p := s.hear(bob, "error"); !strings.Contains(p.ErrorText(), "Card numbers") {
		t.Errorf("bob got %s", p.XML)
	}
	s.put(bob, "<presence><status>fine</status></presence>")
	for {
		p := s.hear(alice, "")
		if strings.Contains(p.XML, "4111") {
			t.Errorf("alice saw %s", p.XML)
		}
		if strings.Contains(p.XML, "fine") {
			break
		}
	}
	s.count(event.Message, "fine", 1)
}
