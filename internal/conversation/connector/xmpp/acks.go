package xmpp

import (
	"bytes"
	"context"
	"strconv"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

// clientSM takes the client's side of stream management.
func (s *session) clientSM(ctx context.Context, n *xmlstream.Node, raw []byte) error {
	a := s.account.Load()
	switch n.Local {
	case "enable":
		a.mu.Lock()
		a.toServer.Start()
		a.mu.Unlock()
	case "a":
		h, err := strconv.ParseUint(n.Attr("h"), 10, 32)
		if err != nil {
			return ended("bad-format", "a confirmation without a count")
		}
		a.mu.Lock()
		count, err := a.toClient.Confirm(uint32(h))
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
	count, err := a.toClient.Resync(uint32(h))
	a.mu.Unlock()
	if err != nil {
		return ended("undefined-condition", err.Error())
	}
	s.slotsMu.Lock()
	s.resume, s.smID = a, id
	s.slotsMu.Unlock()
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

// serverSM takes the server's side of stream management.
func (s *session) serverSM(n *xmlstream.Node, raw []byte) error {
	a := s.account.Load()
	switch n.Local {
	case "enabled":
		s.client.mu.Lock()
		defer s.client.mu.Unlock()
		a.mu.Lock()
		a.toClient.Start()
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
		count, err := a.toServer.Confirm(uint32(h))
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
	count, err := a.toServer.Resync(uint32(h))
	a.session = s
	forClient, forServer := bytes.Join(a.toClient.Injected(), nil), bytes.Join(a.toServer.Injected(), nil)
	a.mu.Unlock()
	if err != nil {
		return ended("undefined-condition", err.Error())
	}
	s.account.Store(a)
	if len(forServer) > 0 {
		if err := s.toServer(forServer); err != nil {
			return err
		}
	}
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	for _, at := range n.Attrs {
		if at.Local == "h" && at.Space == "" {
			raw = xmlstream.Apply(raw, xmlstream.Edit{From: at.From, To: at.To, With: strconv.AppendUint(nil, uint64(count), 10)})
			break
		}
	}
	return s.client.writeLocked(append(bytes.Clone(raw), forClient...))
}
