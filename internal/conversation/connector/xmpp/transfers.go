package xmpp

import (
	"strings"
	"sync"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/shape"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

const maxTransfers = 10_000

// transfers are those from client to client that policy allowed: only their data passes. The oldest is forgotten first.
type transfers struct {
	mu    sync.Mutex
	open  map[string]bool
	order []string
	next  int
}

func (t *transfers) allow(keys ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[string]bool{}
	}
	for _, k := range keys {
		if t.open[k] {
			continue
		}
		t.open[k] = true
		if len(t.order) < maxTransfers {
			t.order = append(t.order, k)
			continue
		}
		delete(t.open, t.order[t.next])
		t.order[t.next] = k
		t.next = (t.next + 1) % maxTransfers
	}
}

// allowed reports whether all of the keys, and at least one, were allowed.
func (t *transfers) allowed(keys []string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range keys {
		if !t.open[k] {
			return false
		}
	}
	return len(keys) > 0
}

// transfersOf names the transfers that an iq speaks of, the same for both sides: the session, and the in-band streams of a Jingle session.
func transfersOf(n *xmlstream.Node, p partners) []string {
	if len(n.Children) == 0 {
		return nil
	}
	child := n.Children[0]
	between := min(p.from, p.to) + "\x00" + max(p.from, p.to) + "\x00"
	var keys []string
	add := func(kind, sid string) {
		if sid != "" && len(sid) <= shape.MaxToken && len(between) <= 4*shape.MaxToken {
			keys = append(keys, kind+"\x00"+between+strings.Clone(sid))
		}
	}
	switch child.Space {
	case nsIBB:
		add("ibb", child.Attr("sid"))
	case "http://jabber.org/protocol/si":
		add("ibb", child.Attr("id")) // the stream that it agrees on has its id (XEP-0095)
	case nsJingle:
		add("jingle", child.Attr("sid"))
		for _, content := range child.Children {
			for _, c := range content.Children {
				if c.Local == "transport" && strings.HasPrefix(c.Space, "urn:xmpp:jingle:transports:ibb:") && len(keys) < 16 {
					add("ibb", c.Attr("sid"))
				}
			}
		}
	}
	return keys
}
