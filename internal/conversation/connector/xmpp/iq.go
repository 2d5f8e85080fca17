package xmpp

import (
	"bytes"
	"context"
	"strings"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/roster"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/said"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/shape"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/sight"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

// clientIQ looks for what opens other ways out: calls, peer-to-peer files, upload slots, old ways to sign in, and words that others read.
func (s *session) clientIQ(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	full, _ := s.account.Load().jid()
	if len(n.Children) > 0 && answerable(n) {
		child := n.Children[0]
		switch {
		case child.Space == "jabber:iq:auth":
			return s.refuse(n, notSigned)
		case len(n.Children) > 1: // RFC 6120, section 8.2.3
			return s.refuse(n, oneChild)
		case full != "" && child.Space == nsUpload && child.Local == "request" && n.Attr("type") == "get":
			return s.askSlot(n, child, raw)
		}
	}
	if full == "" {
		return s.forward(raw)
	}
	p := s.partners(n)
	says := n
	if s.inRoom(n.Attr("to")) {
		says = addressless(n)
	}
	e, m := s.g.iqEvent(says, s.reach(n), p, raw)
	if e == nil {
		return s.forward(raw)
	}
	e.Host.Address = s.address
	p.address(s.g, e)
	if err := s.g.judge(ctx, e); err != nil {
		s.g.log.Error("iq refused: not recorded", "error", err)
		return s.refuse(n, notRecorded)
	}
	j := judged(e, nil)
	for _, k := range s.g.iqKeys(n, p, m) {
		s.g.memory.Put(k, "", j)
	}
	if stop := withheld(j); stop != nil {
		return s.refuse(n, *stop)
	}
	s.g.transfers.allow(transfersOf(n, p)...)
	return s.forward(raw)
}

// iqKeys names an iq by its id and, because rooms give those that pass them another one, by what it says.
func (g *Gateway) iqKeys(n *xmlstream.Node, p partners, m *said.Content) [2]sight.Key {
	text := n.Attr("type") + "\x00" + m.Text()
	return [2]sight.Key{g.memory.Key(p.from, p.to, "iq\x00"+n.Attr("id")+"\x00"+text, ""), g.memory.Key(p.from, p.to, "iq\x00\x00"+text, "")}
}

// iqEvent returns the event that an iq is, nil when it is none, and what it says: calls by Jingle (XEP-0166, 0167), files that would go from
// client to client, which nobody can look into (XEP-0234, 0095, 0047, 0065, 0231), and words to others in any other element.
func (g *Gateway) iqEvent(n *xmlstream.Node, reach string, p partners, raw []byte) (*event.Event, *said.Content) {
	m := said.IQ(n, reach)
	if len(n.Children) > 0 && reach != "" {
		child := n.Children[0]
		var e *event.Event
		switch child.Space {
		case nsJingle:
			e = g.jingleEvent(n, child, p)
		case "http://jabber.org/protocol/si", nsIBB, nsBytestreams, "urn:xmpp:bob":
			e = g.channelEvent(n, child, p)
		}
		switch {
		case e != nil:
			e.Native, e.Raw = n.Attr("id"), bytes.Clone(raw)
			if e.Kind == event.Call {
				e.Text = m.All()
			}
			return e, m
		case child.Space == nsIBB && child.Local == "data": // of a transfer that was allowed
			return nil, m
		}
	}
	if reach == "" || m.All() == "" {
		return nil, m
	}
	return g.messageOf(n, m, raw), m
}

// channelEvent returns the event that the older ways from client to client are, nil for what belongs to a transfer that was allowed, and for
// what carries nothing.
func (g *Gateway) channelEvent(n, child *xmlstream.Node, p partners) *event.Event {
	switch {
	case child.Space == "urn:xmpp:bob" && len(child.Text) == 0, child.Local == "close",
		child.Space == nsBytestreams && child.Child(child.Space, "streamhost") == nil,
		child.Space == "http://jabber.org/protocol/si" && !answerable(n),
		child.Local == "data" && child.Space == nsIBB && g.transfers.allowed(transfersOf(n, p)):
		return nil
	}
	return g.peerFile(child)
}

func (g *Gateway) jingleEvent(n, j *xmlstream.Node, p partners) *event.Event {
	var media string
	file := false
	for _, c := range j.Children {
		for _, d := range c.Children {
			file = file || d.Local == "description" && !strings.HasPrefix(d.Space, "urn:xmpp:jingle:apps:rtp:") || strings.HasPrefix(d.Space, "urn:xmpp:jingle:transports:ibb:")
			if d.Local == "description" && strings.HasPrefix(d.Space, "urn:xmpp:jingle:apps:rtp:") {
				media = strings.TrimSpace(media + " " + d.Attr("media"))
			}
		}
	}
	phases := map[string]string{"session-initiate": event.CallOffered, "session-accept": event.CallAnswered, "session-terminate": event.CallEnded}
	action := j.Attr("action")
	phase, known := phases[action]
	switch {
	case file && (action == "session-initiate" || action == "content-add" || !g.transfers.allowed(transfersOf(n, p))):
		return g.peerFile(j)
	case !known:
		return nil
	}
	e := g.newEvent(event.Call)
	e.Phase, e.CallDetail = phase, &event.CallDetail{Media: media}
	e.Facts = []event.Fact{{Name: "jingle-session", Value: j.Attr("sid")}}
	return e
}

func (g *Gateway) peerFile(n *xmlstream.Node) *event.Event {
	e := g.newEvent(event.FileUpload)
	e.Text = n.AllText()
	e.NotChecked = []event.NotInspected{{Inspector: "xmpp", Reason: event.ReasonUnavailable}}
	return e
}

// serverIQ learns the user's name from the answer to binding, rewrites upload slots, and judges calls and files offered from elsewhere.
func (s *session) serverIQ(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	if len(n.Children) > 0 {
		child := n.Children[0]
		switch {
		case n.Attr("type") == "result" && child.Space == nsBind && child.Local == "bind" && s.signed.Load():
			s.bound(child)
		case n.Attr("type") == "result" && child.Space == nsUpload && child.Local == "slot":
			return s.gotSlot(n, child, raw)
		case child.Space == roster.Namespace:
			s.learnRoster(n)
		}
	}
	_, own := s.account.Load().jid()
	from := n.Attr("from")
	if bare := bareJID(from); !strings.Contains(bare, "@") || bare == own || s.g.local(bare) && resource(from) == "" {
		return s.deliver(raw) // from a server, for itself or for an account: what others wrote there was judged then
	}
	return s.offered(ctx, n, raw)
}

// learnRoster takes what the server says of the user's own roster. Nobody else may (RFC 6121, section 2.1.6), another client of the user
// included.
func (s *session) learnRoster(n *xmlstream.Node) {
	a := s.account.Load()
	if _, bare := a.jid(); n.Attr("from") == "" || strings.EqualFold(n.Attr("from"), bare) {
		a.roster.Take(n)
	}
}

func (s *session) bound(bind *xmlstream.Node) {
	j := bind.Child(nsBind, "jid")
	a := s.account.Load()
	a.mu.Lock()
	defer a.mu.Unlock()
	if j == nil || a.full != "" {
		return
	}
	a.full = strings.TrimSpace(j.Text)
	a.bare = bareJID(a.full)
}

// offered judges what another client sends, unless it came through us.
func (s *session) offered(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	reach := shape.ToPeer
	if !answerable(n) {
		reach = shape.ToAsker
	}
	p := s.inbound(n)
	e, m := s.g.iqEvent(addressless(n), reach, p, raw)
	if e == nil || s.g.local(p.sender) && e.Kind == event.Message && m.Text() == "" { // rooms give what passes them ids of their own
		return s.deliver(raw)
	}
	keys := s.g.iqKeys(n, p, m)
	if s.g.local(p.sender) && s.g.memory.Lookup(keys[1]) != "" {
		return s.deliver(raw)
	}
	j, _ := s.g.once(ctx, s.g.memory, keys[0], "", func() *event.Event {
		p.address(s.g, e)
		return e
	})
	if stop := withheld(j); stop != nil {
		return s.withhold(n, *stop)
	}
	s.g.transfers.allow(transfersOf(n, p)...)
	return s.deliver(raw)
}

// reach says whether others can read an iq that the client sends, "" when nobody can.
func (s *session) reach(n *xmlstream.Node) string {
	_, own := s.account.Load().jid()
	to := n.Attr("to")
	bare := bareJID(to)
	switch {
	case strings.Contains(bare, "@") && bare != own && !(s.g.local(bare) && domainOf(bare) != strings.ToLower(s.g.cfg.Domain) && resource(to) == ""):
		if answerable(n) {
			return shape.ToPeer
		}
		return shape.ToAsker
	case n.Attr("type") == "set":
		for _, c := range n.Children {
			switch c.Space {
			case "http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/pubsub#owner", "vcard-temp", "urn:ietf:params:xml:ns:vcard-4.0",
				"http://jabber.org/protocol/muc#admin", "http://jabber.org/protocol/muc#owner":
				return shape.ToPublic
			}
		}
	}
	return ""
}

// messageOf makes the record of an iq that says something.
func (g *Gateway) messageOf(n *xmlstream.Node, m *said.Content, raw []byte) *event.Event {
	e := g.newEvent(event.Message)
	e.Text, e.Native, e.Raw = m.All(), n.Attr("id"), bytes.Clone(raw)
	e.Facts = []event.Fact{{Name: "stanza", Value: "iq"}}
	return e
}
