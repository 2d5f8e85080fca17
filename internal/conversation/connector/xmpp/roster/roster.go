// Package roster knows who sees the presence of a user: those of the roster (RFC 6121, section 2) who are subscribed to it, as far as the
// server told the user's client.
package roster

import (
	"slices"
	"strings"
	"sync"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

// Namespace is that of rosters.
const Namespace = "jabber:iq:roster"

const maxWatchers = 5_000

// Roster is what is known of one user's roster. The zero value knows nothing.
type Roster struct {
	mu    sync.Mutex
	whole bool // the server sent all of it, and it fitted
	sees  map[string]bool
}

// Take reads what the server sends: all of a roster as a result, or a change of it as a set. A result without a query says that nothing
// changed since a version that the client has and the gateway may not.
func (r *Roster) Take(iq *xmlstream.Node) {
	query := iq.Child(Namespace, "query")
	if query == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sees == nil || iq.Attr("type") == "result" {
		r.sees, r.whole = map[string]bool{}, iq.Attr("type") == "result"
	}
	for _, item := range query.Children {
		jid := strings.ToLower(item.Attr("jid"))
		switch sub := item.Attr("subscription"); {
		case sub != "from" && sub != "both":
			delete(r.sees, jid)
		case len(r.sees) < maxWatchers:
			r.sees[jid] = true
		default:
			r.whole = false
		}
	}
}

// Watchers returns those who see the user's presence, in order, and whether these are all.
func (r *Roster) Watchers() (bare []string, all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for jid := range r.sees {
		bare = append(bare, jid)
	}
	slices.Sort(bare)
	return bare, r.whole
}
