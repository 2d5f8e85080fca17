package xmpp

import (
	"bytes"
	"context"
	"errors"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/ack"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/said"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/sight"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

// fromClient passes what the client sends until its stream ends.
func (s *session) fromClient(ctx context.Context) error {
	for {
		frame, err := s.client.framer.Next()
		if err != nil {
			s.unreadable(ctx, s.client.framer.Partial(), err)
			return err
		}
		switch frame.Kind {
		case xmlstream.Header:
			err = s.clientHeader(frame.Raw)
		case xmlstream.Space:
			err = s.server.write(frame.Raw)
		case xmlstream.Close:
			if err := s.server.write(frame.Raw); err != nil {
				return gone(err)
			}
			return errClosed
		default:
			err = s.clientElement(ctx, frame.Raw)
		}
		if err != nil {
			return err
		}
	}
}

// clientHeader passes the header of a restarted stream.
func (s *session) clientHeader(raw []byte) error {
	if err := s.checkHeader(raw); err != nil {
		return err
	}
	return s.toServer(raw)
}

func (s *session) toServer(raw []byte) error {
	if err := s.server.write(raw); err != nil {
		return gone(err)
	}
	return nil
}

func (s *session) clientElement(ctx context.Context, raw []byte) error {
	n, err := xmlstream.Parse(raw, s.client.scope, s.g.limits.client)
	if err != nil {
		s.unreadable(ctx, raw, err)
		return err
	}
	switch n.Space {
	case nsClient:
		return s.clientStanza(ctx, n, raw)
	case nsSM:
		return s.clientSM(ctx, n, raw)
	case nsSASL2, nsTLS, "urn:xmpp:sm:2":
		return ended("unsupported-stanza-type", "this was not offered")
	case nsCompress:
		return s.client.write([]byte("<failure xmlns='" + nsCompress + "'><setup-failed/></failure>"))
	case nsStream:
		return ended("policy-violation", "the client ended its stream with an error")
	}
	return s.toServer(raw)
}

// maxUnreadable is how much is kept of what cannot be read.
const maxUnreadable = 64 << 10

// unreadable records what a signed-in client sent and nobody can read: it goes nowhere, and it is not dropped silently (law 3).
func (s *session) unreadable(ctx context.Context, raw []byte, err error) {
	var why *xmlstream.Error
	full, bare := s.account.Load().jid()
	if full == "" || !errors.As(err, &why) {
		return
	}
	e := s.g.newEvent(event.Message)
	e.Reason = event.ReasonUndecodable
	if why.Condition == xmlstream.PolicyViolation {
		e.Reason = event.ReasonOversize
	}
	e.From.Handle, e.Host.Address = bare, s.address
	e.Raw, e.Explanation = bytes.Clone(raw[:min(len(raw), maxUnreadable)]), why.Detail
	e.NotChecked = []event.NotInspected{{Inspector: "xmpp", Reason: e.Reason}}
	e.Verdict = event.Verdict{Action: event.Quarantine, Enforced: true, Reason: why.Condition}
	s.g.outcome(ctx, e)
}

func (s *session) clientStanza(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	full, _ := s.account.Load().jid()
	switch n.Local {
	case "message":
		if full == "" {
			return ended("not-authorized", "sign in first")
		}
		return s.clientMessage(ctx, n, raw)
	case "presence":
		if full == "" {
			return ended("not-authorized", "sign in first")
		}
		return s.clientPresence(ctx, n, raw)
	case "iq":
		return s.clientIQ(ctx, n, raw)
	}
	return ended("unsupported-stanza-type", "only message, presence and iq are stanzas")
}

// forward sends a stanza on to the server and counts it.
func (s *session) forward(raw []byte) error { return s.handOver(ack.Forwarded, raw, nil) }

// injectToServer sends the server a stanza of our own, in the client's name.
func (s *session) injectToServer(raw []byte) error { return s.handOver(ack.Injected, raw, raw) }

// handOver counts a stanza towards the server, keeping what is to be sent again over a resumption, and sends it.
func (s *session) handOver(fate ack.Fate, raw, keep []byte) error {
	a := s.account.Load()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	a.mu.Lock()
	err := a.toServer.Add(fate, keep)
	a.mu.Unlock()
	if err != nil {
		return ended("policy-violation", err.Error())
	}
	if err := s.server.writeLocked(raw); err != nil {
		return gone(err)
	}
	return nil
}

// refuse keeps a stanza from the server, counts it as handled, and tells the client. Of what knows no error the client is told by a message,
// and who waits for an answer gets an error in its place.
func (s *session) refuse(n *xmlstream.Node, r refusal) error {
	a := s.account.Load()
	full, bare := a.jid()
	a.mu.Lock()
	err := a.toServer.Add(ack.Swallowed, nil)
	a.mu.Unlock()
	if err != nil {
		return ended("policy-violation", err.Error())
	}
	if answerable(n) {
		err := s.injectToClient(r.answer(n, full, bare))
		if err != nil || n.Local != "presence" || n.Child(nsMUC, "x") != nil {
			return err
		}
	} else if n.Local == "iq" && n.Attr("to") != "" {
		if err := s.injectToServer(r.instead(n, n.Attr("to"))); err != nil {
			return err
		}
	}
	return s.notice(r.text)
}

// injectToClient sends the client a stanza of our own.
func (s *session) injectToClient(raw []byte) error {
	a := s.account.Load()
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	a.mu.Lock()
	err := a.toClient.Add(ack.Injected, raw)
	a.mu.Unlock()
	if err != nil {
		return ended("policy-violation", err.Error())
	}
	return s.client.writeLocked(raw)
}

// clientMessage judges what a client says before the server sees it.
func (s *session) clientMessage(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	p, says := s.partners(n), n
	if p.at != "" { // the nickname was judged when it was taken
		says = addressless(n)
	}
	m := said.Message(says)
	kind := m.Kind()
	if kind == "" {
		if err := s.forward(raw); err != nil {
			return err
		}
		s.confirmations(ctx, m, p)
		return nil
	}
	e := s.g.eventOf(kind, n, m, raw)
	e.Host.Address = s.address
	p.address(s.g, e)
	s.g.relate(e, m, p)
	s.g.attach(e, m)
	if err := s.g.judge(ctx, e); err != nil {
		s.g.log.Error("message refused: not recorded", "error", err)
		return s.refuse(n, notRecorded)
	}
	j, text := judged(e, nil), m.Text()
	s.g.memory.Put(s.g.memory.Key(p.from, p.to, n.Attr("id"), text), text, j)
	if stop := withheld(j); stop != nil {
		return s.refuse(n, *stop)
	}
	err := s.forward(raw)
	s.g.handedOver(ctx, e, err)
	if err != nil {
		return err
	}
	s.confirmations(ctx, m, p)
	return s.warn(ctx, e)
}

// partners says who talks to whom, as the server will name them to others.
type partners struct {
	from   string // bare JID, or room/nick
	to     string // bare JID, room, or room/nick
	sender string // bare JID of who is accountable, or what is known of it
	room   string // of a message to all in a room
	at     string // room of a private message
}

func (s *session) partners(n *xmlstream.Node) partners {
	a := s.account.Load()
	_, bare := a.jid()
	to := n.Attr("to")
	p := partners{from: bare, to: bareJID(to), sender: bare}
	if to == "" {
		p.to = bare
	}
	if n.Attr("type") == "groupchat" {
		p.room = p.to
		if nick, ok := a.nick(p.room); ok {
			p.from = p.room + "/" + nick
		}
		return p
	}
	if nick, ok := a.nick(p.to); ok && resource(to) != "" {
		p.at, p.from, p.to = p.to, p.to+"/"+nick, p.to+"/"+resource(to)
	}
	return p
}

// address fills in the parties of an event.
func (p partners) address(g *Gateway, e *event.Event) {
	e.From.Handle = p.sender
	switch {
	case p.room != "":
		e.Room.Name = p.room
		e.Audience = g.rooms.Audience(p.room)
	case p.at != "":
		e.To = []event.Party{{Handle: g.rooms.Handle(p.at, resource(p.to))}}
		e.Facts = append(e.Facts, event.Fact{Name: "private-in-room", Value: p.at})
	default:
		e.To = []event.Party{{Handle: p.to}}
	}
	if e.Room.Name == "" {
		e.Audience = e.To
	}
}

// eventOf makes an event of what a message says.
func (g *Gateway) eventOf(kind event.Kind, n *xmlstream.Node, m *said.Content, raw []byte) *event.Event {
	e := g.newEvent(kind)
	e.Text, e.Subject = m.All(), m.Subject
	e.Native, e.NativeRefs = n.Attr("id"), m.Refers()
	e.Raw = bytes.Clone(raw)
	if m.Encrypted {
		e.NotChecked = append(e.NotChecked, event.NotInspected{Inspector: "xmpp", Reason: event.ReasonEncrypted})
	}
	if m.Data {
		e.NotChecked = append(e.NotChecked, event.NotInspected{Inspector: "xmpp", Reason: event.ReasonUnavailable})
	}
	if kind == event.Call {
		e.Phase, e.CallDetail = event.CallOffered, &event.CallDetail{}
	}
	return e
}

// relate finds the event that e refers to.
func (g *Gateway) relate(e *event.Event, m *said.Content, p partners) {
	if ref := m.Refers(); ref != "" {
		e.Refers = g.lookup(p, ref)
	}
}

// lookup finds a message of this conversation by its native id, said by either side.
func (g *Gateway) lookup(p partners, id string) event.ID {
	to := p.to
	if p.room != "" {
		if found := g.memory.Lookup(g.memory.Key(to, "", "sid\x00"+id, "")); found != "" {
			return found
		}
	}
	if found := g.memory.Lookup(g.memory.Key(p.from, to, id, "")); found != "" {
		return found
	}
	return g.memory.Lookup(g.memory.Key(to, p.from, id, ""))
}

// confirmations records the receipts and read marks that a message carries, once however many see them.
func (s *session) confirmations(ctx context.Context, m *said.Content, p partners) {
	for _, c := range []struct{ phase, id string }{{event.Received, m.Receipt}, {event.Read, m.Read}} {
		if c.id == "" {
			continue
		}
		key := s.g.memory.Key(p.from, p.to, c.phase+"\x00"+c.id, "")
		seen, first := s.g.memory.Claim(key, "")
		if !first {
			continue
		}
		e := s.g.newEvent(event.Delivery)
		e.Phase, e.NativeRefs, e.Refers = c.phase, c.id, s.g.lookup(p, c.id)
		p.address(s.g, e)
		e.Audience = nil
		s.g.memory.Settle(key, seen, sight.Judged{Event: e.ID})
		s.g.outcome(ctx, e)
	}
}

// handedOver records that the server took a message, or did not.
func (g *Gateway) handedOver(ctx context.Context, of *event.Event, err error) {
	e := g.newEvent(event.Delivery)
	e.Phase, e.Refers, e.Native = event.HandedOver, of.ID, of.Native
	e.From.Handle, e.Room.Name = of.From.Handle, of.Room.Name
	for _, to := range of.To {
		e.To = append(e.To, event.Party{Handle: to.Handle})
	}
	if err != nil {
		e.Phase = event.Failed
	}
	g.outcome(ctx, e)
}
