package xmpp_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/conversation/pipeline"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

// federated is a gateway in front of one domain, with alice signed in through it, and bob at another domain that has no gateway. The two
// servers are real, and talk to each other by TLS and dialback (XEP-0220) on loopback.
func federated(t *testing.T) (s *setting, alice, bob *xmpptest.Raw) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	net := fmt.Sprintf("127.%d.%d.", 64+rand.IntN(64), rand.IntN(256))
	s = &setting{t: t, ctx: ctx, prosody: startProsodyOf(t, ctx, net+"1"), journal: &ledger{}, health: health.NewBoard(time.Now)}
	s.serve(func(c *xmpp.Config, _ *pipeline.Config) { c.Upstream.TLS, c.Uploads = xmpp.Off, nil })
	other := startProsodyOf(t, ctx, net+"2")
	alice = s.bound("alice")
	bob, err := xmpptest.DialRaw(ctx, xmpptest.Login{Address: other.Address, JID: "bob@" + other.Domain, Password: passwords["bob"]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bob.Close)
	if err := bob.Bind(ctx, "desk"); err != nil {
		t.Fatal(err)
	}
	s.put(bob, "<presence/>")
	return s, alice, bob
}

func bareOf(r *xmpptest.Raw) string {
	bare, _, _ := strings.Cut(r.JID, "/")
	return bare
}

// say sends a message, and next waits for what comes of it.
func (s *setting) say(from, to *xmpptest.Raw, id, text string) {
	s.t.Helper()
	s.put(from, "<message to='"+to.JID+"' type='chat' id='"+id+"'><body>"+text+"</body></message>")
}

func (s *setting) next(r *xmpptest.Raw, id string) *xmpptest.Stanza {
	s.t.Helper()
	m, err := r.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("id") == id })
	if err != nil {
		s.t.Fatalf("%s: %v", id, err)
	}
	return m
}

// TestWhatLeavesForAnotherDomain is judged, and on record, before the other server has it.
func TestWhatLeavesForAnotherDomain(t *testing.T) {
	s, alice, bob := federated(t)
	s.say(alice, bob, "m1", "hello over there")
	if m := s.next(bob, "m1"); m.Body() != "hello over there" || m.Attr("from") != alice.JID {
		t.Errorf("bob got %s", m.XML)
	}
	if got := s.journal.find(event.Message, "over there"); len(got) != 1 || got[0].To[0].Handle != bareOf(bob) || got[0].From.Handle != bareOf(alice) {
		t.Errorf("recorded when bob had it: %+v", got) // at this moment, not later
	}
	s.put(bob, "<message to='"+alice.JID+"' type='chat' id='r1'><received xmlns='urn:xmpp:receipts' id='m1'/></message>")
	s.next(alice, "r1")
	if e := s.count(event.Delivery, event.Received, 1)[0]; e.From.Handle != bareOf(bob) || e.Refers != s.journal.find(event.Message, "over there")[0].ID {
		t.Errorf("recorded %+v", e)
	}
	s.say(alice, bob, "m2", card)
	if m := s.next(alice, "m2"); m.Attr("type") != "error" || !strings.Contains(m.ErrorText(), "Card numbers") {
		t.Errorf("alice got %s", m.XML)
	}
	s.put(alice, "<presence to='"+bareOf(bob)+"' type='subscribe'><status>"+card+"</status></presence>")
	s.hear(alice, "error")
	s.journal.setFail(true)
	s.say(alice, bob, "m3", "nobody could record this")
	if m := s.next(alice, "m3"); !strings.Contains(m.ErrorText(), "could not be recorded") {
		t.Errorf("alice got %s", m.XML)
	}
	s.journal.setFail(false)
	s.say(alice, bob, "last", "done")
	for _, m := range s.until(bob, "last") {
		if m.Attr("from") == alice.JID || m.Attr("from") == bareOf(alice) {
			t.Errorf("bob got %s", m.XML)
		}
	}
}

// TestWhatComesFromAnotherDomain is judged at first sight, and on record, before anybody here has it; it is nobody's by-pass.
func TestWhatComesFromAnotherDomain(t *testing.T) {
	s, alice, bob := federated(t)
	second := s.raw("alice") // another client of alice sees the same
	if err := second.Bind(s.ctx, "phone"); err != nil {
		t.Fatal(err)
	}
	s.put(second, "<presence/>")
	s.put(bob, "<message to='"+bareOf(alice)+"' type='chat' id='m1'><body>hello from afar</body></message>")
	for _, r := range []*xmpptest.Raw{alice, second} {
		if m := s.next(r, "m1"); m.Body() != "hello from afar" {
			t.Errorf("alice got %s", m.XML)
		}
		if got := s.journal.find(event.Message, "afar"); len(got) != 1 || got[0].From.Handle != bareOf(bob) || got[0].To[0].Handle != bareOf(alice) || len(got[0].Evidence) > 0 {
			t.Errorf("recorded when alice had it: %+v", got)
		}
	}
	s.say(bob, alice, "m2", card)
	if m := s.next(bob, "m2"); m.Attr("type") != "error" || !strings.Contains(m.ErrorText(), "Card numbers") {
		t.Errorf("bob got %s", m.XML)
	}
	s.put(bob, "<presence to='"+bareOf(alice)+"' type='subscribe'><status>"+card+"</status></presence>")
	if p := s.hear(bob, "error"); !strings.Contains(p.ErrorText(), "Card numbers") {
		t.Errorf("bob got %s", p.XML)
	}
	s.put(bob, "<iq to='"+alice.JID+"' type='get' id='q1'><query xmlns='urn:x'>"+card+"</query></iq>")
	if m := s.next(bob, "q1"); !strings.Contains(m.ErrorText(), "Card numbers") {
		t.Errorf("bob got %s", m.XML)
	}
	s.put(alice, "<iq to='"+bob.JID+"' type='get' id='q2'><query xmlns='jabber:iq:version'/></iq>")
	s.next(bob, "q2")
	s.put(bob, "<iq to='"+alice.JID+"' type='result' id='q2'><query xmlns='jabber:iq:version'><name>"+card+"</name></query></iq>")
	if m := s.next(alice, "q2"); m.Attr("type") != "error" || strings.Contains(m.XML, "4111") {
		t.Errorf("alice waits for an answer and got %s", m.XML)
	}
	s.journal.setFail(true)
	s.say(bob, alice, "m3", "nobody could record this")
	if m := s.next(bob, "m3"); !strings.Contains(m.ErrorText(), "could not be recorded") {
		t.Errorf("bob got %s", m.XML)
	}
	s.journal.setFail(false)
	s.say(bob, alice, "last", "done")
	for _, m := range s.until(alice, "last") {
		if strings.HasPrefix(m.Attr("from"), bareOf(bob)) {
			t.Errorf("alice got %s", m.XML)
		}
	}
	s.count(event.Message, "4111", 4)
}

// TestStatusOfAnotherDomain: what alice's contact shows is judged once, and what alice shows leaves.
func TestStatusOfAnotherDomain(t *testing.T) {
	s, alice, bob := federated(t)
	s.friends(alice, bob)
	s.put(bob, "<presence><status>"+card+"</status></presence>")
	s.put(bob, "<presence><status>on the moon</status></presence>")
	for {
		p := s.hear(alice, "")
		if strings.Contains(p.XML, "4111") {
			t.Errorf("alice saw %s", p.XML)
		}
		if strings.Contains(p.XML, "moon") {
			break
		}
	}
	if e := s.count(event.Message, "moon", 1)[0]; e.From.Handle != bareOf(bob) || len(e.Evidence) > 0 {
		t.Errorf("recorded %+v", e)
	}
	s.put(alice, "<presence><status>on earth</status></presence>")
	for !strings.Contains(s.hear(bob, "").XML, "on earth") {
	}
	if got := s.journal.find(event.Message, "on earth"); len(got) != 1 || len(got[0].Audience) != 1 || got[0].Audience[0].Handle != bareOf(bob) {
		t.Errorf("recorded when bob saw it: %+v", got)
	}
}
