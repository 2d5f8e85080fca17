package xmpp

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/said"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/shape"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/sight"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// clientPresence judges the wish to enter a room, and the words of a presence: status texts, nicknames, requests. What was let through
// before, on the same day and to the same, is no new record: clients say it at every sign-in.
func (s *session) clientPresence(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	a := s.account.Load()
	p, shows := s.presencePartners(n), n
	if p.room != "" { // the nickname is judged below
		shows = addressless(n)
	}
	m := said.Presence(shows)
	own, inside := a.nick(p.room)
	joins := p.room != "" && !inside
	words := m.All()
	if nick := resource(p.from); p.room != "" && nick != own {
		words = lines(nick, words)
	}
	again := s.g.statuses.Key(p.from, p.to, "", "said "+s.g.clock.Now().UTC().Format(time.DateOnly)+" "+words)
	switch {
	case joins:
	case words == "":
		return s.forward(raw)
	case s.g.statuses.Lookup(again) != "":
		s.g.exclude(p.room, event.ReasonDuplicate)
		return s.forward(raw)
	}
	e := s.presenceEvent(n, p, words, raw)
	if joins {
		e.Kind, e.Facts, e.Raw = event.Join, nil, nil
	}
	e.Host.Address = s.address
	if err := s.g.judge(ctx, e); err != nil {
		s.g.log.Error("presence refused: not recorded", "error", err)
		return s.refuse(n, notRecorded)
	}
	if stops(&e.Verdict) {
		return s.refuse(n, refusalOf(&e.Verdict))
	}
	for _, key := range []sight.Key{again, s.g.shownKey(p, m.Text())} {
		s.g.statuses.Put(key, "", sight.Judged{Event: e.ID})
	}
	a.mu.Lock()
	if joins && len(a.asked) < maxJoined {
		a.asked[p.room] = true
	}
	a.mu.Unlock()
	if err := s.forward(raw); err != nil {
		return err
	}
	return s.warn(ctx, e)
}

// presencePartners says who shows a presence to whom: to a room, to one account, or, with to empty, to all who are subscribed.
func (s *session) presencePartners(n *xmlstream.Node) partners {
	a := s.account.Load()
	_, bare := a.jid()
	to := n.Attr("to")
	room, nick := bareJID(to), resource(to)
	if own, inside := a.nick(room); inside {
		if nick == "" || n.Attr("type") != "" {
			nick = own
		}
		return partners{from: room + "/" + nick, to: room, sender: bare, room: room}
	}
	if n.Attr("type") == "" && nick != "" && n.Child(nsMUC, "x") != nil {
		return partners{from: room + "/" + nick, to: room, sender: bare, room: room}
	}
	return partners{from: bare, to: room, sender: bare}
}

// presenceEvent makes the record of a presence that says something. One to nobody in particular is shown to those who are subscribed; when
// the gateway does not know who they are, it may leave the organisation.
func (s *session) presenceEvent(n *xmlstream.Node, p partners, words string, raw []byte) *event.Event {
	e := s.g.newEvent(event.Message)
	e.Text, e.Native, e.Raw = words, n.Attr("id"), bytes.Clone(raw)
	e.Facts = []event.Fact{{Name: "stanza", Value: "presence"}}
	if p.to != "" {
		p.address(s.g, e)
		return e
	}
	e.From.Handle = p.sender
	watchers, all := s.account.Load().roster.Watchers()
	for _, w := range watchers[:min(len(watchers), maxAudience)] {
		e.Audience = append(e.Audience, event.Party{Handle: w})
	}
	if !all || len(watchers) > maxAudience {
		e.Facts = append(e.Facts, event.Fact{Name: policy.LeavesOrgFact, Value: "true"})
	}
	return e
}

const maxAudience = 1000

// lines joins what is not empty, the same once.
func lines(parts ...string) string {
	return strings.Join(slices.Compact(slices.DeleteFunc(parts, func(p string) bool { return p == "" })), "\n")
}

// serverPresence learns who is in which room, and judges words that are seen here for the first time.
func (s *session) serverPresence(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	if n.Attr("type") == "error" {
		return s.deliver(raw)
	}
	if x := n.Child(nsMUCUser, "x"); x != nil && resource(n.Attr("from")) != "" {
		s.occupancy(ctx, n, x)
	}
	if stop := s.shown(ctx, n, raw); stop != nil {
		return s.withhold(n, *stop)
	}
	return s.deliver(raw)
}

// occupancy learns who is in which room.
func (s *session) occupancy(ctx context.Context, n, x *xmlstream.Node) {
	from := n.Attr("from")
	room, nick := bareJID(from), resource(from)
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
		return
	}
	s.g.rooms.Enter(room, nick, behind)
	if self {
		s.entered(ctx, a, room, nick, bare)
	}
}

// shown judges the words of somebody else's presence at first sight, once for all who see it. It returns why it must be withheld, nil when
// it may pass.
func (s *session) shown(ctx context.Context, n *xmlstream.Node, raw []byte) *refusal {
	from := n.Attr("from")
	_, own := s.account.Load().jid()
	if from == "" || bareJID(from) == own {
		return nil
	}
	p := s.inbound(n)
	inRoom := n.Child(nsMUCUser, "x") != nil && resource(from) != ""
	if inRoom {
		p = partners{from: bareJID(from) + "/" + resource(from), to: bareJID(from), room: bareJID(from), sender: s.g.rooms.Handle(bareJID(from), resource(from))}
		if s.g.local(from) {
			n = without(n, nsMUCUser) // by the room itself; the reasons in it were judged when they were given
		}
	}
	m := said.Presence(s.arrived(n))
	words := m.All()
	if nick := resource(from); inRoom && !shape.Nick(nick) {
		words = lines(nick, words)
	}
	if words == "" {
		return nil
	}
	text := m.Text()
	if !s.g.local(from) { // nobody compares it with what was sent
		text = words
	}
	j, _ := s.g.once(ctx, s.g.statuses, s.g.shownKey(p, text), "", func() *event.Event {
		return s.presenceEvent(n, p, words, raw)
	})
	return withheld(j)
}

// shownKey names a presence by who shows it and what it says, to whomever.
func (g *Gateway) shownKey(p partners, text string) sight.Key {
	return g.statuses.Key(p.from, "", "", "shown "+text)
}

// without returns an element without its children in a namespace.
func without(n *xmlstream.Node, space string) *xmlstream.Node {
	out := *n
	out.Children = slices.DeleteFunc(slices.Clone(n.Children), func(c *xmlstream.Node) bool { return c.Space == space })
	return &out
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
