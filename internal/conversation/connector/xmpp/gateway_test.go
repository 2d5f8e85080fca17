package xmpp_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
)

func TestMessagesPassAndCardsDoNot(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.dial("alice"), s.dial("bob")
	alice.Say(s.ctx, "bob@example.org", "m1", "hello <bob> & co")
	if m := s.message(bob, "m1"); m.Body() != "hello <bob> & co" || m.Attr("from") != alice.JID() {
		t.Fatalf("bob got %s", m.XML)
	}
	got := s.count(event.Message, "hello", 1)
	if e := got[0]; e.From.Handle != "alice@example.org" || e.To[0].Handle != "bob@example.org" || e.Native != "m1" || !strings.Contains(string(e.Raw), "hello &lt;bob&gt;") {
		t.Errorf("recorded %+v", e)
	}
	alice.Say(s.ctx, "bob@example.org", "m2", "my card is 4111 1111 1111 1111")
	m := s.message(alice, "m2")
	if m.Attr("type") != "error" || !strings.Contains(m.ErrorText(), "Card numbers may not leave") || m.Attr("from") != "bob@example.org" {
		t.Fatalf("alice got %s", m.XML)
	}
	alice.Say(s.ctx, "bob@example.org", "m3", "never mind")
	for { // nothing of m2 may come before m3
		m, err := bob.Next(s.ctx, isMessage)
		if err != nil {
			t.Fatal(err)
		}
		if m.Attr("id") == "m3" {
			break
		}
		if strings.Contains(m.XML, "4111") {
			t.Fatalf("bob got %s", m.XML)
		}
	}
	if e := s.count(event.Message, "4111", 1)[0]; e.Verdict.Action != event.Block || e.Verdict.Rule != "cards" {
		t.Errorf("verdict %+v", e.Verdict)
	}
	s.count(event.Delivery, event.HandedOver, 2)
}

func TestSignIn(t *testing.T) {
	s := start(t, nil)
	for _, mechanism := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN"} {
		for listener, name := range []string{"starttls", "direct", "off"} {
			t.Run(mechanism+" "+name, func(t *testing.T) {
				l := s.login("alice")
				l.Mechanism, l.Address = mechanism, s.gateway.Addresses()[listener].String()
				switch name {
				case "direct":
					l.Direct = true
				case "off":
					l.TLS = (*tls.Config)(nil)
				}
				c := s.dialAs(l)
				c.Say(s.ctx, "alice@example.org", "self-"+mechanism+name, "note to self")
				s.message(c, "self-"+mechanism+name)
			})
		}
	}
}

// TestWarnedMessagesAreDeliveredAndTheirSenderIsTold: from the domain, after delivery, and on record as what became of the message.
func TestWarnedMessagesAreDeliveredAndTheirSenderIsTold(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.dial("alice"), s.dial("bob")
	alice.Say(s.ctx, "bob@example.org", "w1", "join my signal group")
	if m := s.message(bob, "w1"); m.Body() != "join my signal group" {
		t.Fatalf("bob got %s", m.XML)
	}
	of := s.count(event.Message, "signal group", 1)[0]
	m := s.message(alice, "warn-"+string(of.ID))
	if m.Body() != "Stay in the firm's <own> chat." || m.Attr("from") != "example.org" || m.Attr("type") == "error" {
		t.Errorf("alice got %s", m.XML)
	}
	told := s.count(event.Delivery, event.Warned, 1)[0]
	if told.Refers != of.ID || told.From.Handle != "example.org" || told.To[0].Handle != "alice@example.org" || told.Explanation != m.Body() {
		t.Errorf("recorded %+v", told)
	}
	alice.Say(s.ctx, "bob@example.org", "w2", "fine")
	s.message(bob, "w2")
	s.count(event.Delivery, event.Warned, 1)
}
