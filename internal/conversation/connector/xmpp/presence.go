package xmpp

import (
	"context"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

// clientPresence judges the wish to enter a room.
func (s *session) clientPresence(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	a := s.account.Load()
	room, nick := bareJID(n.Attr("to")), resource(n.Attr("to"))
	_, inside := a.nick(room)
	if n.Attr("type") != "" || nick == "" || inside || n.Child(nsMUC, "x") == nil {
		return s.forward(raw)
	}
	e := s.g.newEvent(event.Join)
	_, e.From.Handle = a.jid()
	e.Room.Name, e.Native, e.Host.Address = room, n.Attr("id"), s.address
	e.Audience = s.g.rooms.Audience(room)
	if err := s.g.judge(ctx, e); err != nil {
		s.g.log.Error("join refused: not recorded", "error", err)
		return s.refuse(n, notRecorded)
	}
	if stops(&e.Verdict) {
		return s.refuse(n, refusalOf(&e.Verdict))
	}
	a.mu.Lock()
	if len(a.asked) < 1000 {
		a.asked[room] = true
	}
	a.mu.Unlock()
	return s.forward(raw)
}

// serverPresence learns who is in which room.
func (s *session) serverPresence(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	x := n.Child(nsMUCUser, "x")
	from := n.Attr("from")
	room, nick := bareJID(from), resource(from)
	if x == nil || nick == "" || n.Attr("type") == "error" {
		return s.deliver(raw)
	}
	a := s.account.Load()
	_, bare := a.jid()
	self, renamed, behind := occupant(x)
	if self {
		behind = bare
	}
	if n.Attr("type") == "unavailable" {
		s.g.rooms.Leave(room, nick)
		if self && !renamed {
			a.mu.Lock()
			delete(a.joined, room)
			a.mu.Unlock()
			s.g.left(ctx, room, bare)
		}
		return s.deliver(raw)
	}
	s.g.rooms.Enter(room, nick, behind)
	if self {
		s.entered(ctx, a, room, nick, bare)
	}
	return s.deliver(raw)
}

// occupant reads what a room says about one of those in it: whether it is the reader, whether it goes by a new nick now, and who it is.
func occupant(x *xmlstream.Node) (self, renamed bool, behind string) {
	for _, c := range x.Children {
		switch {
		case c.Local == "status" && c.Attr("code") == "110":
			self = true
		case c.Local == "status" && c.Attr("code") == "303":
			renamed = true
		case c.Local == "item":
			behind = bareJID(c.Attr("jid"))
		}
	}
	return self, renamed, behind
}

const maxJoined = 1000

// entered notes that the account is in a room. An entry that nobody asked for through us is recorded now.
func (s *session) entered(ctx context.Context, a *account, room, nick, bare string) {
	a.mu.Lock()
	_, before := a.joined[room]
	asked := a.asked[room]
	delete(a.asked, room)
	if before || len(a.joined) < maxJoined {
		a.joined[room] = nick
	}
	a.mu.Unlock()
	if before || asked {
		return
	}
	e := s.g.newEvent(event.Join)
	e.Room.Name, e.From.Handle, e.Host.Address = room, bare, s.address
	s.g.outcome(ctx, e)
}
