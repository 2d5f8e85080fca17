package xmpp

import (
	"bytes"
	"context"
	"strings"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

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
