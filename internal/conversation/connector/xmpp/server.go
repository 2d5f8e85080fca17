package xmpp

import (
	"context"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/ack"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/said"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/sight"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

// fromServer passes what the server sends until its stream ends.
func (s *session) fromServer(ctx context.Context) error {
	for {
		frame, err := s.server.framer.Next()
		if err != nil {
			return gone(err)
		}
		switch frame.Kind {
		case xmlstream.Header:
			_, s.server.scope, err = xmlstream.ParseHeader(frame.Raw, s.g.limits.server)
			s.inRoot = true
			if err == nil {
				err = s.client.write(frame.Raw)
			}
		case xmlstream.Space:
			err = s.client.write(frame.Raw)
		case xmlstream.Close:
			if err := s.client.write(frame.Raw); err != nil {
				return err
			}
			return errClosed
		default:
			err = s.serverStanza(ctx, frame.Raw)
		}
		if err != nil {
			return err
		}
	}
}

func (s *session) serverStanza(ctx context.Context, raw []byte) error {
	n, err := xmlstream.Parse(raw, s.server.scope, s.g.limits.server)
	if err != nil {
		return ended("remote-connection-failed", "the server sent what cannot be read")
	}
	switch n.Space {
	case nsStream:
		if n.Local == "features" {
			raw = s.features(n, raw)
		}
		return s.client.write(raw)
	case nsSASL:
		if n.Local == "success" { // both sides start their streams anew
			s.signed.Store(true)
			s.server.framer.Restart()
			s.client.framer.Restart()
		}
		return s.client.write(raw)
	case nsSM:
		return s.serverSM(n, raw)
	case nsClient:
		switch n.Local {
		case "message":
			return s.serverMessage(ctx, n, raw)
		case "presence":
			return s.serverPresence(ctx, n, raw)
		case "iq":
			return s.serverIQ(ctx, n, raw)
		}
	}
	return s.client.write(raw)
}

// features takes out of the server's features what would bind the two legs together, hide the stream, or name the user in ways the gateway
// does not read.
func (s *session) features(n *xmlstream.Node, raw []byte) []byte {
	var cuts []xmlstream.Edit
	plus := false
	for _, c := range n.Children {
		switch {
		case c.Local == "starttls", c.Local == "compression", c.Space == nsSASL2, c.Local == "sasl-channel-binding",
			c.Space == "http://jabber.org/features/iq-auth", c.Space == "urn:xmpp:sm:2", c.Space == "urn:xmpp:fast:0", c.Space == "urn:xmpp:bind:0":
			cuts = append(cuts, xmlstream.Edit{From: c.From, To: c.To})
		case c.Local == "mechanisms":
			for _, m := range c.Children {
				if strings.HasSuffix(strings.TrimSpace(m.Text), "-PLUS") || m.Local != "mechanism" || strings.TrimSpace(m.Text) == "EXTERNAL" {
					plus = plus || strings.HasSuffix(strings.TrimSpace(m.Text), "-PLUS")
					cuts = append(cuts, xmlstream.Edit{From: m.From, To: m.To})
				}
			}
		}
	}
	s.g.channelBinding(plus)
	return xmlstream.Apply(raw, cuts...)
}

// channelBinding says on the health board when the server offers what cannot work through a gateway: clients that could bind, and see no
// offer, tell the server so, and it then takes the gateway for an attack (RFC 5802, section 6).
func (g *Gateway) channelBinding(offered bool) {
	if g.deps.Health == nil || !offered {
		return
	}
	g.deps.Health.Set("gateway "+g.cfg.ID+" sign-in", health.Degraded,
		"the XMPP server offers SASL channel binding to the gateway, so clients that know it cannot sign in",
		"switch channel binding off on the server, or connect to it with tls: off on loopback")
}

// deliver sends a stanza on to the client and counts it.
func (s *session) deliver(raw []byte) error {
	a := s.account.Load()
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	a.mu.Lock()
	err := a.toClient.Add(ack.Forwarded, nil)
	a.mu.Unlock()
	if err != nil {
		return ended("policy-violation", err.Error())
	}
	return s.client.writeLocked(raw)
}

// withhold keeps a stanza from the client, and tells its sender when there are words for it.
func (s *session) withhold(n *xmlstream.Node, r refusal) error {
	a := s.account.Load()
	full, bare := a.jid()
	a.mu.Lock()
	err := a.toClient.Add(ack.Swallowed, nil)
	a.mu.Unlock()
	if err != nil {
		return ended("policy-violation", err.Error())
	}
	from := n.Attr("from")
	switch {
	case from == "":
		return nil
	case n.Local == "iq" && !answerable(n): // our client waits for it
		return s.injectToClient(r.answer(&xmlstream.Node{Local: "iq", Attrs: []xmlstream.Attr{{Local: "to", Value: from}, {Local: "id", Value: n.Attr("id")}}}, full, bare))
	case !answerable(n), n.Attr("type") == "groupchat", n.Local == "presence" && s.inRoom(from): // a room takes an error for a farewell
		return nil
	case n.Attr("to") == "":
		return s.injectToServer(r.answer(n, from, full))
	}
	return s.injectToServer(r.answer(n, from, bare))
}

// inRoom reports whether a JID is of a room that the user is in.
func (s *session) inRoom(jid string) bool {
	_, in := s.account.Load().nick(bareJID(jid))
	return in
}

// local reports whether a JID is of the domain behind this gateway, or of a service below it: what its users say was seen when they said it.
func (g *Gateway) local(jid string) bool {
	domain, mine := domainOf(jid), strings.ToLower(g.cfg.Domain)
	return domain == mine || strings.HasSuffix(domain, "."+mine)
}

// serverMessage passes copies of what was judged, and judges what is seen here for the first time.
func (s *session) serverMessage(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	from := n.Attr("from")
	if n.Attr("type") == "error" {
		s.bounced(ctx, n)
		if s.g.local(from) || from == "" || n.Child(nsClient, "body") == nil {
			return s.deliver(raw)
		}
	}
	inner, archived := s.unwrap(n)
	m := said.Message(s.arrived(inner))
	kind := m.Kind()
	from = inner.Attr("from")
	switch {
	case kind == "", from == "" && inner == n, s.ownService(inner):
		if from != "" && !archived && !s.g.local(from) {
			s.confirmations(ctx, m, s.inbound(inner))
		}
		return s.deliver(raw)
	case (archived || m.Delayed || kind == event.RoomChange) && s.g.local(from):
		s.g.exclude("", event.ReasonDuplicate)
		return s.deliver(raw)
	}
	stop, known := s.firstSight(ctx, inner, m, raw)
	if stop != nil {
		return s.withhold(n, *stop)
	}
	if known {
		s.g.exclude("", event.ReasonDuplicate)
	}
	return s.deliver(raw)
}

// ownService reports whether a message is from the server itself, or a notification of publish-subscribe.
func (s *session) ownService(n *xmlstream.Node) bool {
	from := n.Attr("from")
	if n.Child("http://jabber.org/protocol/pubsub#event", "event") != nil && n.Child(nsClient, "body") == nil {
		return true
	}
	return bareJID(from) == strings.ToLower(s.g.cfg.Domain)
}

// unwrap returns the message inside a carbon or an archive result, when it comes from where those may come from; else the message itself.
func (s *session) unwrap(n *xmlstream.Node) (inner *xmlstream.Node, archived bool) {
	if len(n.Children) != 1 {
		return n, false
	}
	c := n.Children[0]
	result := strings.HasPrefix(c.Space, "urn:xmpp:mam:") && c.Local == "result"
	carbon := c.Space == nsCarbons && (c.Local == "sent" || c.Local == "received")
	if !(carbon || result) || !s.copies(n.Attr("from"), result) {
		return n, false
	}
	if f := c.Child(nsForward, "forwarded"); f != nil {
		if m := f.Child(nsClient, "message"); m != nil {
			return m, result
		}
	}
	return n, false
}

// copies reports whether copies of messages may come from there: carbons from the own account, archive results also from a room the user
// is in and from a service of our domain.
func (s *session) copies(from string, archive bool) bool {
	a := s.account.Load()
	if _, bare := a.jid(); from == "" || bareJID(from) == bare {
		return true
	}
	if !archive {
		return false
	}
	return s.inRoom(from) && resource(from) == "" || s.g.local(from) && !strings.Contains(from, "@")
}

// firstSight judges a message that came around the gateway, once for all its recipients here. It returns why it must be withheld, nil when
// it may pass, and whether it had been judged before.
func (s *session) firstSight(ctx context.Context, n *xmlstream.Node, m *said.Content, raw []byte) (*refusal, bool) {
	p, text := s.inbound(n), m.Text()
	j, known := s.g.once(ctx, s.g.memory, s.g.memory.Key(p.from, p.to, n.Attr("id"), text), text, func() *event.Event {
		e := s.g.eventOf(m.Kind(), n, m, raw)
		if !m.Stamp.IsZero() && m.Stamp.Before(e.Received) {
			e.Time = m.Stamp.UTC()
		}
		p.address(s.g, e)
		s.g.relate(e, m, p)
		s.g.attach(e, m)
		if s.g.local(p.sender) {
			e.Evidence = append(e.Evidence, event.Evidence{Fact: "by-pass", Value: "a message of our own domain that did not come through this gateway", Strength: event.Medium})
		}
		return e
	})
	s.alias(p, n, j.Event)
	return withheld(j), known
}

// alias lets a message be found by the id that its room gave it (XEP-0359): reactions in rooms refer to that.
func (s *session) alias(p partners, n *xmlstream.Node, id event.ID) {
	if p.room == "" || id == "" {
		return
	}
	for _, sid := range n.Children {
		if sid.Space != nsStanzaID || sid.Local != "stanza-id" {
			continue
		}
		if by := bareJID(sid.Attr("by")); by == p.room && sid.Attr("id") != "" {
			s.g.memory.Put(s.g.memory.Key(by, "", "sid\x00"+sid.Attr("id"), ""), "", sight.Judged{Event: id})
		}
	}
}

// arrived returns a stanza from the server without what is not its sender's: the address of the reader, and the ids that our own server gives.
func (s *session) arrived(n *xmlstream.Node) *xmlstream.Node {
	out, from := addressless(n), n.Attr("from")
	out.Children = slices.DeleteFunc(slices.Clone(n.Children), func(c *xmlstream.Node) bool {
		return len(c.Children) == 0 && c.Text == "" &&
			(c.Space == nsStanzaID && c.Local == "stanza-id" && s.g.local(c.Attr("by")) || c.Space == nsOccupant && s.g.local(from))
	})
	return out
}

// addressless returns a stanza without its address.
func addressless(n *xmlstream.Node) *xmlstream.Node {
	out := *n
	out.Attrs = slices.DeleteFunc(slices.Clone(n.Attrs), func(a xmlstream.Attr) bool { return a.Space == "" && a.Local == "to" })
	return &out
}

// inbound says who talks to whom in a message from the server.
func (s *session) inbound(n *xmlstream.Node) partners {
	a := s.account.Load()
	_, bare := a.jid()
	from, to := n.Attr("from"), n.Attr("to")
	if to == "" {
		to = bare
	}
	p := partners{from: bareJID(from), to: bareJID(to), sender: bareJID(from)}
	if n.Attr("type") == "groupchat" {
		p.room, p.to, p.from = p.from, p.from, p.from+"/"+resource(from)
		p.sender = s.g.rooms.Handle(p.room, resource(from))
		return p
	}
	if nick, ok := a.nick(p.from); ok && resource(from) != "" { // a private message in a room, to us
		p.at, p.from, p.to = p.from, p.from+"/"+resource(from), p.from+"/"+nick
		p.sender = s.g.rooms.Handle(p.at, resource(from))
	} else if nick, ok := a.nick(p.to); ok && resource(to) != "" { // a copy of our own
		p.at, p.from, p.to = p.to, p.to+"/"+nick, p.to+"/"+resource(to)
	}
	return p
}

// bounced records that a message came back.
func (s *session) bounced(ctx context.Context, n *xmlstream.Node) {
	p := s.inbound(n)
	id := s.g.memory.Lookup(s.g.memory.Key(p.to, p.from, n.Attr("id"), ""))
	if id == "" {
		return
	}
	e := s.g.newEvent(event.Delivery)
	e.Phase, e.Refers, e.Native = event.Failed, id, n.Attr("id")
	e.From.Handle, e.To = p.to, []event.Party{{Handle: p.from}}
	if c := n.Child(nsClient, "error"); c != nil && len(c.Children) > 0 {
		e.Explanation = c.Children[0].Local
	}
	s.g.outcome(ctx, e)
}
