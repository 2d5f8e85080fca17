package xmpp

import (
	"bytes"
	"context"
	"strconv"
	"strings"

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
	err := a.toClient.add(forwarded, nil)
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
	err := a.toClient.add(swallowed, nil)
	a.mu.Unlock()
	if err != nil {
		return ended("policy-violation", err.Error())
	}
	if !answerable(n) || n.Attr("type") == "groupchat" || n.Attr("from") == "" {
		return nil
	}
	answer := r.answer(n, n.Attr("from"), bare)
	if n.Attr("to") == "" {
		answer = r.answer(n, n.Attr("from"), full)
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	a.mu.Lock()
	err = a.toServer.add(injected, nil)
	a.mu.Unlock()
	if err != nil {
		return ended("policy-violation", err.Error())
	}
	return s.server.writeLocked(answer)
}

// serverSM takes the server's side of stream management.
func (s *session) serverSM(n *xmlstream.Node, raw []byte) error {
	a := s.account.Load()
	switch n.Local {
	case "enabled":
		s.client.mu.Lock()
		defer s.client.mu.Unlock()
		a.mu.Lock()
		a.toClient.start()
		a.mu.Unlock()
		if id := n.Attr("id"); id != "" && (n.Attr("resume") == "true" || n.Attr("resume") == "1") && s.g.resumable.put(id, a) {
			s.smID = id
		}
		return s.client.writeLocked(raw)
	case "a":
		h, err := strconv.ParseUint(n.Attr("h"), 10, 32)
		if err != nil {
			return s.client.write(raw)
		}
		a.mu.Lock()
		count, err := a.toServer.confirm(uint32(h))
		a.mu.Unlock()
		if err != nil {
			return ended("undefined-condition", err.Error())
		}
		return s.client.write(count4(n.Local, count))
	case "resumed":
		return s.resumed(n, raw)
	case "failed":
		return s.client.write(withoutCount(n, raw))
	}
	return s.client.write(raw)
}

// withoutCount takes the optional count out of <failed/>: it is the server's, not the client's.
func withoutCount(n *xmlstream.Node, raw []byte) []byte {
	for _, at := range n.Attrs {
		if at.Local == "h" && at.Space == "" {
			return xmlstream.Apply(raw, xmlstream.Edit{From: at.From - len("h='"), To: at.To + 1})
		}
	}
	return raw
}

// resumed makes the account of the lost session that of this one.
func (s *session) resumed(n *xmlstream.Node, raw []byte) error {
	s.slotsMu.Lock()
	a := s.resume
	s.slotsMu.Unlock()
	h, err := strconv.ParseUint(n.Attr("h"), 10, 32)
	if a == nil || err != nil {
		return ended("undefined-condition", "a resumption that nobody asked for")
	}
	a.mu.Lock()
	count, _, err := a.toServer.resync(uint32(h))
	a.session = s
	var again [][]byte
	for _, r := range a.toClient.runs {
		again = append(again, r.raw)
	}
	a.mu.Unlock()
	if err != nil {
		return ended("undefined-condition", err.Error())
	}
	s.account.Store(a)
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	for _, at := range n.Attrs {
		if at.Local == "h" && at.Space == "" {
			raw = xmlstream.Apply(raw, xmlstream.Edit{From: at.From, To: at.To, With: strconv.AppendUint(nil, uint64(count), 10)})
			break
		}
	}
	return s.client.writeLocked(append(bytes.Clone(raw), bytes.Join(again, nil)...))
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
	m := readMessage(inner)
	kind := m.kind()
	from = inner.Attr("from")
	switch {
	case kind == "", from == "" && inner == n, s.ownService(inner):
		return s.deliver(raw)
	case (archived || m.delayed || kind == event.RoomChange) && s.g.local(from):
		s.g.exclude("", event.ReasonDuplicate)
		return s.deliver(raw)
	}
	stop, known, err := s.firstSight(ctx, inner, m, raw)
	switch {
	case err != nil:
		s.g.log.Error("message withheld: not recorded", "error", err)
		return s.withhold(n, notRecorded)
	case stop != nil:
		return s.withhold(n, *stop)
	case known:
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
	a := s.account.Load()
	_, bare := a.jid()
	from := n.Attr("from")
	own := from == "" || bareJID(from) == bare
	_, inRoom := a.nick(bareJID(from))
	for _, c := range n.Children {
		carbon := c.Space == nsCarbons && (c.Local == "sent" || c.Local == "received") && own
		result := strings.HasPrefix(c.Space, "urn:xmpp:mam:") && c.Local == "result" && (own || inRoom && resource(from) == "" || s.g.local(from) && !strings.Contains(from, "@"))
		if !carbon && !result {
			continue
		}
		if f := c.Child(nsForward, "forwarded"); f != nil {
			if m := f.Child(nsClient, "message"); m != nil && len(n.Children) == 1 {
				return m, result
			}
		}
	}
	return n, false
}

// firstSight judges a message that came around the gateway, once for all its recipients here. It returns why it must be withheld, nil when
// it may pass, and whether it had been judged before.
func (s *session) firstSight(ctx context.Context, n *xmlstream.Node, m *said, raw []byte) (*refusal, bool, error) {
	p := s.inbound(n)
	text := m.text()
	key := s.g.memory.key(p.from, p.to, n.Attr("id"), text)
	seen, first := s.g.memory.claim(key, s.g.memory.hash(text))
	if !first {
		if seen.done != nil {
			select {
			case <-seen.done:
			case <-ctx.Done():
				return nil, false, ctx.Err()
			}
		}
		s.alias(p, m, seen.event)
		if seen.stop || seen.event == "" {
			return &refusal{"cancel", "policy-violation", "This was not delivered."}, true, nil
		}
		return nil, true, nil
	}
	e := s.g.eventOf(m.kind(), n, m, raw)
	p.address(s.g, e)
	s.g.relate(e, m, p)
	s.g.attach(e, m)
	if s.g.local(p.sender) {
		e.Evidence = append(e.Evidence, event.Evidence{Fact: "by-pass", Value: "a message of our own domain that did not come through this gateway", Strength: event.Medium})
	}
	err := s.g.judge(ctx, e)
	stop := stops(&e.Verdict)
	s.g.memory.settle(key, seen, e.ID, stop, err == nil)
	if err != nil {
		return nil, false, err
	}
	s.alias(p, m, e.ID)
	if stop {
		r := refusalOf(&e.Verdict)
		return &r, false, nil
	}
	return nil, false, nil
}

// alias lets a message be found by the id that its room gave it (XEP-0359): reactions in rooms refer to that.
func (s *session) alias(p partners, m *said, id event.ID) {
	if p.room == "" || id == "" {
		return
	}
	for _, sid := range m.ids {
		if by := bareJID(sid.Attr("by")); by == p.room && sid.Attr("id") != "" {
			s.g.memory.put(s.g.memory.key(by, "", "sid\x00"+sid.Attr("id"), ""), 0, id, false)
		}
	}
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
		p.sender = s.g.rooms.handle(p.room, resource(from))
		return p
	}
	if nick, ok := a.nick(p.from); ok && resource(from) != "" { // a private message in a room, to us
		p.at, p.from, p.to = p.from, p.from+"/"+resource(from), p.from+"/"+nick
		p.sender = s.g.rooms.handle(p.at, resource(from))
	} else if nick, ok := a.nick(p.to); ok && resource(to) != "" { // a copy of our own
		p.at, p.from, p.to = p.to, p.to+"/"+nick, p.to+"/"+resource(to)
	}
	return p
}

// bounced records that a message came back.
func (s *session) bounced(ctx context.Context, n *xmlstream.Node) {
	p := s.inbound(n)
	id := s.g.memory.lookup(s.g.memory.key(p.to, p.from, n.Attr("id"), ""))
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
	self, renamed, behind := false, false, ""
	for _, c := range x.Children {
		self = self || c.Local == "status" && c.Attr("code") == "110"
		renamed = renamed || c.Local == "status" && c.Attr("code") == "303"
		if c.Local == "item" {
			behind = bareJID(c.Attr("jid"))
		}
	}
	if self {
		behind = bare
	}
	if n.Attr("type") == "unavailable" {
		s.g.rooms.leave(room, nick)
		if self && !renamed {
			a.mu.Lock()
			delete(a.joined, room)
			a.mu.Unlock()
			s.g.left(ctx, room, bare)
		}
		return s.deliver(raw)
	}
	s.g.rooms.enter(room, nick, behind)
	if self {
		s.entered(ctx, a, room, nick, bare)
	}
	return s.deliver(raw)
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

// serverIQ learns the user's name from the answer to binding, rewrites upload slots, and judges calls and files offered from elsewhere.
func (s *session) serverIQ(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	if len(n.Children) == 0 {
		return s.deliver(raw)
	}
	child := n.Children[0]
	switch {
	case n.Attr("type") == "result" && child.Space == nsBind && child.Local == "bind" && s.signed.Load():
		s.bound(child)
	case n.Attr("type") == "result" && child.Space == nsUpload && child.Local == "slot":
		return s.gotSlot(n, child, raw)
	case answerable(n):
		return s.offered(ctx, n, child, raw)
	}
	return s.deliver(raw)
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

// offered judges a call or a file that another client offers, unless it came through us.
func (s *session) offered(ctx context.Context, n, child *xmlstream.Node, raw []byte) error {
	e := s.g.iqEvent(n, child, raw)
	if e == nil {
		return s.deliver(raw)
	}
	_, bare := s.account.Load().jid()
	from := n.Attr("from")
	bareFrom, res, _ := strings.Cut(from, "/")
	key := s.g.memory.key(strings.ToLower(bareFrom)+"/"+res, strings.ToLower(n.Attr("to")), "iq\x00"+n.Attr("id"), "")
	seen, first := s.g.memory.claim(key, 0)
	if !first {
		if seen.stop {
			return s.withhold(n, notSigned)
		}
		return s.deliver(raw)
	}
	e.From.Handle, e.To = bareJID(from), []event.Party{{Handle: bare}}
	e.Audience = e.To
	err := s.g.judge(ctx, e)
	s.g.memory.settle(key, seen, e.ID, stops(&e.Verdict), err == nil)
	switch {
	case err != nil:
		return s.withhold(n, notRecorded)
	case stops(&e.Verdict):
		return s.withhold(n, refusalOf(&e.Verdict))
	}
	return s.deliver(raw)
}
