package xmpp

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

// fromClient passes what the client sends until its stream ends.
func (s *session) fromClient(ctx context.Context) error {
	for {
		frame, err := s.client.framer.Next()
		if err != nil {
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
func (s *session) forward(raw []byte) error {
	a := s.account.Load()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	a.mu.Lock()
	err := a.toServer.add(forwarded, nil)
	a.mu.Unlock()
	if err != nil {
		return ended("policy-violation", err.Error())
	}
	if err := s.server.writeLocked(raw); err != nil {
		return gone(err)
	}
	return nil
}

// refuse keeps a stanza from the server, counts it as handled, and tells the client.
func (s *session) refuse(n *xmlstream.Node, r refusal) error {
	a := s.account.Load()
	full, bare := a.jid()
	a.mu.Lock()
	err := a.toServer.add(swallowed, nil)
	a.mu.Unlock()
	if err != nil {
		return ended("policy-violation", err.Error())
	}
	if !answerable(n) {
		return nil
	}
	return s.injectToClient(r.answer(n, full, bare))
}

// injectToClient sends the client a stanza of our own.
func (s *session) injectToClient(raw []byte) error {
	a := s.account.Load()
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	a.mu.Lock()
	err := a.toClient.add(injected, raw)
	a.mu.Unlock()
	if err != nil {
		return ended("policy-violation", err.Error())
	}
	return s.client.writeLocked(raw)
}

// clientSM takes the client's side of stream management.
func (s *session) clientSM(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	a := s.account.Load()
	switch n.Local {
	case "enable":
		a.mu.Lock()
		a.toServer.start()
		a.mu.Unlock()
	case "a":
		h, err := strconv.ParseUint(n.Attr("h"), 10, 32)
		if err != nil {
			return ended("bad-format", "a confirmation without a count")
		}
		a.mu.Lock()
		count, err := a.toClient.confirm(uint32(h))
		a.mu.Unlock()
		if err != nil {
			return ended("undefined-condition", err.Error())
		}
		return s.toServer(count4(n.Local, count))
	case "resume":
		return s.clientResume(n, raw)
	}
	return s.toServer(raw)
}

// count4 makes an <a/> with a count.
func count4(local string, h uint32) []byte {
	return []byte("<" + local + " xmlns='" + nsSM + "' h='" + strconv.FormatUint(uint64(h), 10) + "'/>")
}

// clientResume asks the server to resume with its own count. The session that had the account before is ended first: it may be half-open.
func (s *session) clientResume(n *xmlstream.Node, raw []byte) error {
	id := n.Attr("previd")
	h, err := strconv.ParseUint(n.Attr("h"), 10, 32)
	if err != nil || !s.signed.Load() {
		return ended("bad-format", "a resumption without a count, or before signing in")
	}
	a := s.g.resumable.get(id)
	if a == nil || !s.release(a) {
		return s.client.write([]byte("<failed xmlns='" + nsSM + "'><item-not-found xmlns='" + nsStanzas + "'/></failed>"))
	}
	a.mu.Lock()
	count, lost, err := a.toClient.resync(uint32(h))
	a.mu.Unlock()
	if err != nil {
		return ended("undefined-condition", err.Error())
	}
	s.slotsMu.Lock()
	s.resume, s.smID = a, id
	s.slotsMu.Unlock()
	a.mu.Lock()
	for _, stanza := range lost { // sent again right after <resumed/>
		a.toClient.runs = append(a.toClient.runs, run{fate: injected, n: 1, raw: stanza})
	}
	a.mu.Unlock()
	for _, at := range n.Attrs {
		if at.Local == "h" && at.Space == "" {
			return s.toServer(xmlstream.Apply(raw, xmlstream.Edit{From: at.From, To: at.To, With: strconv.AppendUint(nil, uint64(count), 10)}))
		}
	}
	return nil
}

// release takes an account away from the session that has it.
func (s *session) release(a *account) bool {
	a.mu.Lock()
	old := a.session
	a.mu.Unlock()
	return old == nil || old != s && old.takeOver()
}

// clientMessage judges what a client says before the server sees it.
func (s *session) clientMessage(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	m := readMessage(n)
	p := s.partners(n)
	kind := m.kind()
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
	stop := stops(&e.Verdict)
	text := m.text()
	s.g.memory.put(s.g.memory.key(p.from, p.to, n.Attr("id"), text), s.g.memory.hash(text), e.ID, stop)
	if stop {
		return s.refuse(n, refusalOf(&e.Verdict))
	}
	err := s.forward(raw)
	s.g.handedOver(ctx, e, err)
	if err == nil {
		s.confirmations(ctx, m, p)
	}
	return err
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
		e.Audience = g.rooms.audience(p.room)
	case p.at != "":
		e.To = []event.Party{{Handle: g.rooms.handle(p.at, resource(p.to))}}
		e.Facts = append(e.Facts, event.Fact{Name: "private-in-room", Value: p.at})
	default:
		e.To = []event.Party{{Handle: p.to}}
	}
	if e.Room.Name == "" {
		e.Audience = e.To
	}
}

// eventOf makes an event of what a message says.
func (g *Gateway) eventOf(kind event.Kind, n *xmlstream.Node, m *said, raw []byte) *event.Event {
	e := g.newEvent(kind)
	e.Text, e.Subject = m.text(), m.subject
	e.Native, e.NativeRefs = n.Attr("id"), m.refers()
	e.Raw = bytes.Clone(raw)
	if m.encrypted {
		e.NotChecked = append(e.NotChecked, event.NotInspected{Inspector: "xmpp", Reason: event.ReasonEncrypted})
	}
	if kind == event.Call {
		e.Phase, e.CallDetail = event.CallOffered, &event.CallDetail{}
	}
	return e
}

// relate finds the event that e refers to.
func (g *Gateway) relate(e *event.Event, m *said, p partners) {
	if ref := m.refers(); ref != "" {
		e.Refers = g.lookup(p, ref)
	}
}

// lookup finds a message of this conversation by its native id, said by either side.
func (g *Gateway) lookup(p partners, id string) event.ID {
	to := p.to
	if p.room != "" {
		if found := g.memory.lookup(g.memory.key(to, "", "sid\x00"+id, "")); found != "" {
			return found
		}
	}
	if found := g.memory.lookup(g.memory.key(p.from, to, id, "")); found != "" {
		return found
	}
	return g.memory.lookup(g.memory.key(to, p.from, id, ""))
}

// confirmations records the receipts and read marks that a message carries.
func (s *session) confirmations(ctx context.Context, m *said, p partners) {
	for _, c := range []struct{ phase, id string }{{event.Received, m.receipt}, {event.Read, m.read}} {
		if c.id == "" {
			continue
		}
		e := s.g.newEvent(event.Delivery)
		e.Phase, e.NativeRefs, e.Refers = c.phase, c.id, s.g.lookup(p, c.id)
		p.address(s.g, e)
		e.Audience = nil
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
	e.Audience = s.g.rooms.audience(room)
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

// clientIQ looks for what opens other ways out: calls, peer-to-peer files, upload slots, and old ways to sign in.
func (s *session) clientIQ(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	full, bare := s.account.Load().jid()
	if len(n.Children) == 0 || !answerable(n) {
		return s.forward(raw)
	}
	child := n.Children[0]
	switch {
	case child.Space == "jabber:iq:auth":
		return s.refuse(n, notSigned)
	case full == "":
		return s.forward(raw)
	case child.Space == nsUpload && child.Local == "request" && n.Attr("type") == "get":
		return s.askSlot(n, child, raw)
	}
	e := s.g.iqEvent(n, child, raw)
	if e == nil {
		return s.forward(raw)
	}
	e.From.Handle, e.Host.Address = bare, s.address
	e.To = []event.Party{{Handle: bareJID(n.Attr("to"))}}
	e.Audience = e.To
	key := s.g.memory.key(full, strings.ToLower(n.Attr("to")), "iq\x00"+n.Attr("id"), "")
	if err := s.g.judge(ctx, e); err != nil {
		s.g.log.Error("iq refused: not recorded", "error", err)
		return s.refuse(n, notRecorded)
	}
	s.g.memory.put(key, 0, e.ID, stops(&e.Verdict))
	if stops(&e.Verdict) {
		return s.refuse(n, refusalOf(&e.Verdict))
	}
	return s.forward(raw)
}

// iqEvent returns the event that an iq is, nil when it is none: calls by Jingle (XEP-0166, 0167), and files that would go from client to
// client, which nobody can look into (XEP-0234, 0095, 0047, 0065).
func (g *Gateway) iqEvent(n, child *xmlstream.Node, raw []byte) *event.Event {
	var e *event.Event
	switch child.Space {
	case nsJingle:
		e = g.jingleEvent(child)
	case "http://jabber.org/protocol/si", "http://jabber.org/protocol/ibb", "http://jabber.org/protocol/bytestreams":
		if child.Local == "data" || child.Local == "close" || child.Space == "http://jabber.org/protocol/bytestreams" && child.Child(child.Space, "streamhost") == nil {
			return nil
		}
		e = g.peerFile(child)
	}
	if e != nil {
		e.Native, e.Raw = n.Attr("id"), bytes.Clone(raw)
	}
	return e
}

func (g *Gateway) jingleEvent(j *xmlstream.Node) *event.Event {
	var media string
	file := false
	for _, c := range j.Children {
		for _, d := range c.Children {
			file = file || strings.HasPrefix(d.Space, "urn:xmpp:jingle:apps:file-transfer:")
			if d.Local == "description" && strings.HasPrefix(d.Space, "urn:xmpp:jingle:apps:rtp:") {
				media = strings.TrimSpace(media + " " + d.Attr("media"))
			}
		}
	}
	phases := map[string]string{"session-initiate": event.CallOffered, "session-accept": event.CallAnswered, "session-terminate": event.CallEnded}
	action := j.Attr("action")
	phase, known := phases[action]
	switch {
	case file && (action == "session-initiate" || action == "content-add"):
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
