package xmpp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/event"
)

// managed signs in with stream management on, and returns the id for a resumption.
func (s *setting) managed(user, resource string) (*xmpptest.Raw, string) {
	s.t.Helper()
	r := s.raw(user)
	if err := r.Bind(s.ctx, resource); err != nil {
		s.t.Fatal(err)
	}
	s.put(r, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	enabled := s.await(r, "enabled")
	return r, enabled.Attr("id")
}

func (s *setting) put(r *xmpptest.Raw, xml string) {
	s.t.Helper()
	if err := r.Send(xml); err != nil {
		s.t.Fatal(err)
	}
}

func (s *setting) await(r *xmpptest.Raw, local string) *xmpptest.Stanza {
	s.t.Helper()
	e, err := r.Await(s.ctx, local)
	if err != nil {
		s.t.Fatalf("waiting for %s: %v", local, err)
	}
	return e
}

func (s *setting) chat(r *xmpptest.Raw, to, id, body string) {
	s.t.Helper()
	s.put(r, fmt.Sprintf("<message to='%s' type='chat' id='%s'><body>%s</body></message>", to, id, body))
}

// ask asks for a confirmation until it is h: the server may still be at work.
func (s *setting) confirmed(r *xmpptest.Raw, h string) {
	s.t.Helper()
	var got string
	for range 50 {
		s.put(r, "<r xmlns='urn:xmpp:sm:3'/>")
		if got = s.await(r, "a").Attr("h"); got == h {
			return
		}
	}
	s.t.Fatalf("confirmed %s, want %s", got, h)
}

func TestRefusedStanzasCountAsHandled(t *testing.T) {
	s := start(t, nil)
	bob := s.dial("bob")
	r, _ := s.managed("alice", "desk")
	s.put(r, "<presence/>")
	s.chat(r, "bob@example.org", "m1", "one")
	s.chat(r, "bob@example.org", "m2", "4111 1111 1111 1111")
	s.chat(r, "bob@example.org", "m3", "4111 1111 1111 1111")
	s.confirmed(r, "4")
	s.chat(r, "bob@example.org", "m4", "two")
	s.chat(r, "bob@example.org", "m5", "4111 1111 1111 1111")
	s.confirmed(r, "6")
	s.message(bob, "m4")
	// the other way: two of three errors above were ours, and the server must not hear of them
	s.put(r, "<iq type='get' id='ping' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>")
	received := 0
	if _, err := r.Next(s.ctx, func(x *xmpptest.Stanza) bool {
		if x.Local == "message" || x.Local == "presence" || x.Local == "iq" {
			received++
		}
		return x.Attr("id") == "ping"
	}); err != nil {
		t.Fatal(err)
	}
	bob.Say(s.ctx, r.JID, "b1", "still there?")
	s.await(r, "message")
}

func TestServerHearsItsOwnCount(t *testing.T) {
	s := start(t, nil)
	r, _ := s.managed("alice", "desk")
	s.chat(r, "bob@example.org", "m1", "4111 1111 1111 1111") // an error from us: 1
	s.await(r, "message")
	s.put(r, "<iq type='get' id='ping' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>")
	s.await(r, "iq") // from the server: 2
	s.put(r, "<a xmlns='urn:xmpp:sm:3' h='2'/>")
	s.put(r, "<iq type='get' id='ping2' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>")
	if i := s.await(r, "iq"); i.Attr("id") != "ping2" {
		t.Errorf("got %s", i.XML)
	}
	if strings.Contains(s.prosody.Log(), "h=\"2\"") {
		t.Error("the server heard of our stanza")
	}
	s.put(r, "<a xmlns='urn:xmpp:sm:3' h='9'/>")
	if e := s.await(r, "error"); !strings.Contains(e.XML, "undefined-condition") {
		t.Errorf("got %s", e.XML)
	}
}

func TestResumption(t *testing.T) {
	s := start(t, nil)
	bob := s.dial("bob")
	first, id := s.managed("alice", "desk")
	s.put(first, "<presence/>")
	s.chat(first, "bob@example.org", "m1", "one")
	s.chat(first, "bob@example.org", "m2", "4111 1111 1111 1111")
	s.message(bob, "m1")
	received := 0
	count := func(id string) func(x *xmpptest.Stanza) bool {
		return func(x *xmpptest.Stanza) bool {
			if x.Local == "message" || x.Local == "presence" || x.Local == "iq" {
				received++
			}
			return x.Attr("id") == id
		}
	}
	if _, err := first.Next(s.ctx, count("m2")); err != nil { // the error about it
		t.Fatal(err)
	}
	for name, cut := range map[string]bool{"cut": true, "half-open": false} {
		t.Run(name, func(t *testing.T) {
			if cut {
				first.Close()
			}
			bob.Say(s.ctx, "alice@example.org", "while-"+name, "while you were away")
			second := s.raw("alice")
			s.put(second, fmt.Sprintf("<resume xmlns='urn:xmpp:sm:3' previd='%s' h='%d'/>", id, received))
			got, err := second.Next(s.ctx, func(x *xmpptest.Stanza) bool { return x.Local == "resumed" || x.Local == "failed" })
			if err != nil || got.Local != "resumed" || got.Attr("h") != "3" {
				t.Fatalf("%v %+v", err, got)
			}
			if _, err := second.Next(s.ctx, count("while-"+name)); err != nil {
				t.Fatal(err)
			}
			s.confirmed(second, "3")
			first = second
		})
	}
	s.count(event.Message, "while you were away", 2)
	third := s.raw("alice")
	s.put(third, "<resume xmlns='urn:xmpp:sm:3' previd='never-heard-of' h='0'/>")
	if f := s.await(third, "failed"); f.Child("urn:ietf:params:xml:ns:xmpp-stanzas", "item-not-found") == nil {
		t.Errorf("got %s", f.XML)
	}
	if err := third.Bind(s.ctx, "anew"); err != nil {
		t.Errorf("after a refused resumption: %v", err)
	}
}
