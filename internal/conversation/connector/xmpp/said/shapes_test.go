package said

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/shape"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

// readers are the places where the tables hold, and how a stanza is read there.
func readers() map[string]func(inner string) (string, string) {
	return map[string]func(inner string) (string, string){
		shape.Anywhere:  func(in string) (string, string) { return "<message>" + in + "</message>", "" },
		shape.Presences: func(in string) (string, string) { return "<presence>" + in + "</presence>", "" },
		shape.Exchanges: func(in string) (string, string) { return "<iq>" + in + "</iq>", shape.ToPeer },
		shape.ToAsker:   func(in string) (string, string) { return "<iq type='result'>" + in + "</iq>", shape.ToAsker },
		shape.ToPublic:  func(in string) (string, string) { return "<iq type='set'>" + in + "</iq>", shape.ToPublic },
	}
}

// judgedOf returns all that is judged of a stanza.
func judgedOf(t testing.TB, xml, reach string) string {
	n := parse(t, xml)
	var m *Content
	switch n.Local {
	case "message":
		m = Message(n)
		if m.Kind() == "" && m.All() != "" {
			t.Errorf("%s says %q and is none", xml, m.All())
		}
	case "presence":
		m = Presence(n)
	default:
		m = IQ(n, reach)
	}
	return m.Subject + "\n" + m.All()
}

// within opens an element with attributes, or without.
func within(name string, attr string) string {
	space, local, _ := strings.Cut(name, " ")
	return "<" + local + " xmlns='" + space + "'" + attr
}

// TestWordsPassInNoKnownShape puts words into every attribute and text of every shape that is known, and into attributes that none has.
func TestWordsPassInNoKnownShape(t *testing.T) {
	for where, read := range readers() {
		for name, known := range shape.Known(where) {
			_, local, _ := strings.Cut(name, " ")
			attrs := []string{"unheard"}
			for f := range strings.FieldsSeq(known) {
				if attr, form, _ := strings.Cut(f, ":"); attr != "text" && form != "label" {
					attrs = append(attrs, attr)
				}
			}
			for _, words := range []string{"meet-zanzibar-pub-noon-move-to-whatsapp-card-4111111111111111", "4111111111111111", "meet zanzibar at the pub", "MeetZanzibarInThePubAtNoon"} {
				for _, attr := range attrs {
					xml, reach := read(within(name, " "+attr+"='"+words+"'/>"))
					if got := judgedOf(t, xml, reach); !strings.Contains(got, words) {
						t.Errorf("%s: judged is %q", xml, got)
					}
				}
				if shape.Form(known, "text") == "label" {
					continue
				}
				xml, reach := read(within(name, ">"+words+"</"+local+">"))
				if got := judgedOf(t, xml, reach); !strings.Contains(got, words) {
					t.Errorf("%s: judged is %q", xml, got)
				}
			}
		}
	}
}

// FuzzKnownShapes puts any text into a place of a known shape: it is judged, or its form lets it choose little.
func FuzzKnownShapes(f *testing.F) {
	type place struct{ where, name, attr, form string }
	var places []place
	for where := range readers() {
		for name, known := range shape.Known(where) {
			for s := range strings.FieldsSeq(known) {
				if attr, form, _ := strings.Cut(s, ":"); form != "label" {
					places = append(places, place{where, name, attr, form})
				}
			}
		}
	}
	slices.SortFunc(places, func(a, b place) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	for i, seed := range []string{"meet-zanzibar-pub-noon", "xmpp:bob@example.org", "4111111111111111", "gajim.5J2K8XQ1", "\u00fc", "a b"} {
		f.Add(uint16(i*17), seed)
	}
	f.Fuzz(func(t *testing.T, at uint16, v string) {
		p := places[int(at)%len(places)]
		escaped := string(xmlstream.Escape(nil, v))
		in := within(p.name, " "+p.attr+"='"+escaped+"'/>")
		if _, local, _ := strings.Cut(p.name, " "); p.attr == "text" {
			in = within(p.name, ">"+escaped+"</"+local+">")
		}
		xml, reach := readers()[p.where](in)
		if n, err := xmlstream.Parse([]byte(xml), clientScope, xmlstream.DefaultLimits); err != nil || n == nil || !utf8.ValidString(v) || strings.ContainsRune(escaped, utf8.RuneError) {
			return
		}
		if got := judgedOf(t, xml, reach); strings.TrimSpace(v) == "" || strings.Contains(lineEnds(got), strings.TrimSpace(lineEnds(v))) {
			return
		}
		if size, letters := shape.Free(p.form, v); size > shape.MaxToken || letters > 96 || shape.Fits(p.form, "meet-zanzibar-pub-noon") {
			t.Errorf("%s passes %d bytes, %d letters", xml, size, letters)
		}
	})
}

// lineEnds makes white space of one kind: attributes have no other.
func lineEnds(v string) string { return strings.Join(strings.Fields(v), " ") }

// TestManySmallWordsAreWords: what passes alone is judged where it comes in heaps.
func TestManySmallWordsAreWords(t *testing.T) {
	one := "<reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:zanzibar@pub.example'/>"
	if got := judgedOf(t, "<message>"+one+"</message>", ""); strings.TrimSpace(got) != "" {
		t.Errorf("one mention: %q", got)
	}
	if got := judgedOf(t, "<message>"+strings.Repeat(one, 40)+"</message>", ""); strings.Count(got, "zanzibar") != 40 {
		t.Errorf("forty mentions: %q", got)
	}
}

// TestRealClients: what they send with every message, at every sign-in and when they ask each other is nothing to record.
func TestRealClients(t *testing.T) {
	const caps = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='%s' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>"
	for _, node := range []string{"http://gajim.org", "https://gajim.org", "https://dino.im", "http://conversations.im", "http://pidgin.im/", "https://www.igniterealtime.org/", "http://psi-im.org",
		"https://monal-im.org/", "http://www.profanity.im", "https://poez.io", "http://swift.im", "https://conversejs.org", "https://blabber.im"} {
		silent(t, "<presence><show>away</show><priority>5</priority>"+fmt.Sprintf(caps, node)+
			"<x xmlns='vcard-temp:x:update'><photo>da39a3ee5e6b4b0d3255bfef95601890afd80709</photo></x><idle xmlns='urn:xmpp:idle:1' since='2026-11-25T09:00:00Z'/></presence>", "")
		silent(t, "<iq type='get' id='0d2f1f7e-8a55-4b6d-9d3e-6a1f0e5c7b21' to='bob@example.org/gajim.5J2K8XQ1'><query xmlns='http://jabber.org/protocol/disco#info' node='"+node+"#QgayPKawpkPSDYmwT/WM94uAlu0='/></iq>", shape.ToPeer)
	}
	for _, resource := range []string{"gajim.5J2K8XQ1", "Conversations.Ab3x", "dino.a1b2c3d4", "Monal-iOS.28d8a92f", "desk", "profanity.a4Xk", "0d2f1f7e-8a55-4b6d-9d3e-6a1f0e5c7b21", "converse.js-1234567",
		"qxn0Gml1E4Qh_tz7cW9uJg", "Psi+", "yaxim.1a2b3c", "poezio-8sd3", "xabber-android-Qq3x", "Jane Doe"} {
		silent(t, "<message type='chat' id='m1' to='bob@example.org/"+resource+"'><composing xmlns='http://jabber.org/protocol/chatstates'/><no-store xmlns='urn:xmpp:hints'/></message>", "")
	}
	for _, node := range []string{"http://jabber.org/protocol/commands", "http://jabber.org/protocol/muc#traffic", "http://jabber.org/protocol/muc#rooms", "eu.siacs.conversations.axolotl.devicelist"} {
		silent(t, "<iq type='get' id='d1' to='bob@example.org'><query xmlns='http://jabber.org/protocol/disco#items' node='"+node+"'/></iq>", shape.ToPeer)
	}
	var features strings.Builder
	for f := range strings.FieldsSeq(features1) {
		features.WriteString("<feature var='" + f + "'/>")
	}
	silent(t, "<iq type='result' id='d2'><query xmlns='http://jabber.org/protocol/disco#info' node='http://gajim.org#QgayPKawpkPSDYmwT/WM94uAlu0='><identity category='client' type='pc' name='Gajim 1.8'/>"+features.String()+"</query></iq>", shape.ToAsker)
	silent(t, "<message type='chat' id='m2' to='bob@example.org'><body/><reference xmlns='urn:xmpp:reference:0' begin='0' end='3' type='mention' uri='xmpp:bob@example.org'/>"+
		"<reply xmlns='urn:xmpp:reply:0' to='desk@rooms.example.org/Jane Doe' id='0d2f1f7e'/><origin-id xmlns='urn:xmpp:sid:0' id='0d2f1f7e-8a55-4b6d-9d3e-6a1f0e5c7b21'/><markable xmlns='urn:xmpp:chat-markers:0'/></message>", "")
	silent(t, call, shape.ToPeer)
}

// silent reports a stanza of machines of which something would be judged.
func silent(t *testing.T, xml, reach string) {
	t.Helper()
	if got := strings.TrimSpace(judgedOf(t, xml, reach)); got != "" {
		t.Errorf("%s says %q", xml, got)
	}
}

const features1 = `http://jabber.org/protocol/bytestreams http://jabber.org/protocol/muc http://jabber.org/protocol/commands http://jabber.org/protocol/disco#info jabber:iq:last
jabber:x:encrypted jabber:x:conference jabber:x:data jabber:x:oob urn:xmpp:jingle:1 urn:xmpp:jingle:apps:rtp:1 urn:xmpp:jingle:apps:rtp:audio urn:xmpp:jingle:apps:rtp:video
urn:xmpp:jingle:apps:file-transfer:5 urn:xmpp:jingle:transports:ice-udp:1 urn:xmpp:jingle:transports:s5b:1 urn:xmpp:jingle:transports:ibb:1 urn:xmpp:jingle:apps:dtls:0 urn:xmpp:receipts
urn:xmpp:chat-markers:0 urn:xmpp:message-correct:0 urn:xmpp:time urn:xmpp:ping urn:xmpp:attention:0 urn:xmpp:bob urn:xmpp:sid:0 urn:xmpp:hints urn:xmpp:reply:0 urn:xmpp:reactions:0
urn:xmpp:fallback:0 urn:xmpp:message-retract:1 urn:xmpp:message-moderate:1 urn:xmpp:jingle-message:0 urn:xmpp:idle:1 urn:xmpp:eme:0 urn:xmpp:omemo:2+notify urn:ietf:rfc:3264 jabber:iq:version
eu.siacs.conversations.axolotl.devicelist+notify http://jabber.org/protocol/nick+notify http://jabber.org/protocol/mood+notify http://jabber.org/protocol/tune+notify urn:xmpp:avatar:metadata+notify
urn:xmpp:bookmarks:1+notify storage:bookmarks+notify http://jabber.org/protocol/chatstates http://jabber.org/protocol/xhtml-im http://jabber.org/protocol/rosterx vcard-temp jabber:iq:gateway
http://jabber.org/protocol/geoloc+notify http://jabber.org/protocol/activity+notify http://jabber.org/protocol/caps http://jabber.org/protocol/pubsub#event urn:xmpp:mds:displayed:0+notify`

const call = `<iq type='set' id='c1' to='bob@example.org/gajim.5J2K8XQ1'><jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' initiator='alice@example.org/Conversations.Ab3x' sid='a73sjjvkla37jfea'>
<content creator='initiator' name='0' senders='both'><description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'><payload-type id='111' name='opus' clockrate='48000' channels='2'>
<parameter name='minptime' value='10'/><parameter name='useinbandfec' value='1'/><rtcp-fb xmlns='urn:xmpp:jingle:apps:rtp:rtcp-fb:0' type='transport-cc'/></payload-type><rtcp-mux/>
<rtp-hdrext xmlns='urn:xmpp:jingle:apps:rtp:rtp-hdrext:0' id='1' uri='urn:ietf:params:rtp-hdrext:ssrc-audio-level'/><source xmlns='urn:xmpp:jingle:apps:rtp:ssma:0' ssrc='1656081975'>
<parameter name='cname' value='pQ5t4g9rT7XyBz1k'/></source></description><transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='8hhY' pwd='asd88fgpdd777uzjYhagZg'>
<fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='sha-256' setup='actpass'>02:1A:CC:54:27:AB:EB:9C:53:3F:3E:4B:65:2E:7D:46:3F:54:42:CD:54:F1:7A:03:A2:7D:F9:B0:7F:46:19:B2</fingerprint>
<candidate component='1' foundation='1' generation='0' id='el0747fg11' ip='192.168.100.200' network='1' port='8998' priority='2130706431' protocol='udp' type='host'/></transport></content>
<group xmlns='urn:xmpp:jingle:apps:grouping:0' semantics='BUNDLE'><content name='0'/></group></jingle></iq>`
