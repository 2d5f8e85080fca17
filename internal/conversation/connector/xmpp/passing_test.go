package xmpp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/event"
)

// TestNoWordsInKnownShapes: words in the attributes of elements that the gateway knows are recorded, with a body or without; what clients send
// by themselves is not.
func TestNoWordsInKnownShapes(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.bound("alice"), s.bound("bob")
	for i, x := range []string{
		"<message to='bob@example.org' type='chat' id='m1'><reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:%s'/></message>",
		"<message to='bob@example.org' type='chat' id='m2'><body>hello</body><reply xmlns='urn:xmpp:reply:0' to='%s' id='a1'/></message>",
		"<message to='bob@example.org/%s' type='chat' id='m3'><active xmlns='http://jabber.org/protocol/chatstates'/></message>",
		"<message to='bob@example.org' type='chat' id='m4'><body>hello</body><stanza-id xmlns='urn:xmpp:sid:0' by='%s' id='a1b2'/></message>",
		"<iq to='" + bob.JID + "' type='get' id='q1'><query xmlns='http://jabber.org/protocol/disco#info' node='%s'/></iq>",
		"<iq type='set' id='q2'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='http://jabber.org/protocol/mood'><item id='%s'><mood xmlns='http://jabber.org/protocol/mood'><happy/></mood></item></publish></pubsub></iq>",
		"<presence to='bob@example.org'><x xmlns='vcard-temp:x:update'><photo>%s</photo></x></presence>",
		"<presence to='bob@example.org'><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://x' ver='%s'/></presence>",
		"<presence to='bob@example.org'><show>%s</show></presence>",
	} {
		words := fmt.Sprintf("meet-zanzibar-%c-pub-noon", 'a'+i)
		s.put(alice, fmt.Sprintf(x, words))
	}
	s.put(alice, "<message to='"+bob.JID+"' id='last' type='chat'><body>done</body></message>")
	s.until(bob, "last")
	for i := range 9 {
		if e := s.count(event.Message, fmt.Sprintf("meet-zanzibar-%c-pub-noon", 'a'+i), 1)[0]; len(e.Evidence) != 0 {
			t.Errorf("accused: %+v", e)
		}
	}
	s.count(event.Message, "", 10)
}

// TestWhatClientsSendByThemselves is no record: capabilities, pictures and chat states, also in a room, where the server adds ids of its own.
func TestWhatClientsSendByThemselves(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.bound("alice"), s.bound("bob")
	const room = "desk@rooms.example.org"
	shows := "<show>away</show><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://gajim.org' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>" +
		"<x xmlns='vcard-temp:x:update'><photo>da39a3ee5e6b4b0d3255bfef95601890afd80709</photo></x>"
	for r, nick := range map[*xmpptest.Raw]string{alice: "Christopher von Hohenzollern", bob: "Bo"} {
		s.put(r, "<presence to='"+room+"/"+nick+"'><x xmlns='http://jabber.org/protocol/muc'/>"+shows+"</presence>")
		if _, err := r.Next(s.ctx, func(m *xmpptest.Stanza) bool { return strings.Contains(m.XML, "'110'") }); err != nil {
			t.Fatal(err)
		}
	}
	s.put(alice, "<presence>"+shows+"</presence>")
	s.put(alice, "<presence to='bob@example.org'>"+shows+"</presence>")
	s.put(alice, "<presence to='"+room+"/Christopher von Hohenzollern'>"+shows+"</presence>")
	const composing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
	s.put(bob, "<message to='"+room+"/Christopher von Hohenzollern' type='chat' id='c1'>"+composing+"<x xmlns='http://jabber.org/protocol/muc#user'/></message>")
	s.put(bob, "<message to='"+room+"' type='groupchat' id='c2'>"+composing+"</message>")
	s.put(bob, "<message to='"+room+"' type='groupchat' id='last'><body>done</body></message>")
	s.until(alice, "last")
	s.count(event.Message, "", 1)
}
