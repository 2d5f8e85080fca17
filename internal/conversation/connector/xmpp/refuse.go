package xmpp

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/sight"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

// refusal is why a stanza goes no further, as the stanza error that its sender gets (RFC 6120, section 8.3).
type refusal struct {
	kind      string // error type
	condition string
	text      string
}

var (
	notRecorded = refusal{"wait", "resource-constraint", "This was not delivered: it could not be recorded. Please try again later."}
	notSigned   = refusal{"cancel", "service-unavailable", "This is not offered here."}
	oneChild    = refusal{"modify", "bad-request", "A question or an order has one child element."}
	noUploads   = refusal{"cancel", "service-unavailable", "Files cannot be sent through this gateway."}
)

// refusalOf gives the words for a verdict: policy's own, or plain ones.
func refusalOf(v *event.Verdict) refusal {
	r := refusal{"cancel", "policy-violation", v.Say}
	if r.text != "" {
		return r
	}
	switch v.Action {
	case event.Hold:
		r.text = "This was not delivered, and will not be: it is on record. Please ask before you send it again."
	case event.Quarantine:
		r.text = "This was not delivered: it is on record, in quarantine."
	default:
		r.text = "This was not delivered: the rules of your organisation forbid it."
	}
	return r
}

// judged is what is remembered of an event that was judged; the zero value when it could not be recorded.
func judged(e *event.Event, err error) sight.Judged {
	switch {
	case err != nil:
		return sight.Judged{}
	case stops(&e.Verdict):
		return sight.Judged{Event: e.ID, Refused: refusalOf(&e.Verdict).text}
	}
	return sight.Judged{Event: e.ID}
}

// once judges at first sight what came around the gateway, however many sessions see it: the others wait, and judge it themselves when it
// could not be recorded, because the session that began may have ended meanwhile. It returns what became of it, and whether that was known
// before.
func (g *Gateway) once(ctx context.Context, m *sight.Memory, key sight.Key, text string, of func() *event.Event) (j sight.Judged, known bool) {
	seen, first := m.Claim(key, text)
	for !first {
		j, err := seen.Wait(ctx)
		if err != nil || j.Event != "" {
			return j, true
		}
		seen, first = m.Claim(key, text)
	}
	e := of()
	err := g.judge(ctx, e)
	if err != nil {
		g.log.Error("withheld: not recorded", "kind", e.Kind, "error", err)
	}
	j = judged(e, err)
	m.Settle(key, seen, j)
	return j, false
}

// withheld says why something goes no further, nil when it may pass.
func withheld(j sight.Judged) *refusal {
	switch {
	case j.Event == "":
		return &notRecorded
	case j.Refused != "":
		return &refusal{"cancel", "policy-violation", j.Refused}
	}
	return nil
}

// warn tells the sender of a message that was delivered what policy wants them told, as a message of the gateway's domain. The words are on
// record with the verdict before; that they were told is recorded as what became of the message.
func (s *session) warn(ctx context.Context, of *event.Event) error {
	words := warnings(&of.Verdict)
	full, _ := s.account.Load().jid()
	if words == "" || full == "" {
		return nil
	}
	err := s.injectToClient(s.g.tidings(full, "warn-"+string(of.ID), words))
	if err != nil {
		return err
	}
	e := s.g.newEvent(event.Delivery)
	e.Phase, e.Refers, e.Native, e.Explanation = event.Warned, of.ID, of.Native, words
	e.From.Handle, e.Room.Name = s.g.cfg.Domain, of.Room.Name
	e.To = []event.Party{{Handle: of.From.Handle}}
	s.g.outcome(ctx, e)
	return nil
}

// notice tells the client in a message what it would not show as an error: why something was refused of which people do not see the answer.
// The same words come once a minute, so that a client that answers by itself does not bury its user in them.
func (s *session) notice(words string) error {
	a := s.account.Load()
	full, _ := a.jid()
	if full == "" || !a.tell(words, s.g.clock.Now()) {
		return nil
	}
	return s.injectToClient(s.g.tidings(full, "refused-"+string(event.NewID()), words))
}

// tidings is a message of the gateway's domain.
func (g *Gateway) tidings(to, id, words string) []byte {
	out := attribute([]byte("<message xmlns='jabber:client'"), "from", g.cfg.Domain)
	out = attribute(out, "to", to)
	out = attribute(out, "id", id)
	out = xmlstream.Escape(append(out, "><body>"...), words)
	return append(out, "</body><no-store xmlns='urn:xmpp:hints'/></message>"...)
}

// warnings gathers the words of all warnings that are in force. In monitor mode nobody is told anything.
func warnings(v *event.Verdict) string {
	if !v.Enforced {
		return ""
	}
	var words []string
	for _, o := range v.Obligations {
		if o.Kind == event.Warn && !slices.Contains(words, o.Queue) {
			words = append(words, o.Queue)
		}
	}
	return strings.Join(words, "\n")
}

// stops reports whether a verdict keeps something from its recipient. In monitor mode nothing is kept. What would have to be redacted is
// kept too: this gateway passes the bytes that came, or none.
func stops(v *event.Verdict) bool {
	if v.Action == event.Pending || v.Action == "" {
		return true
	}
	if !v.Enforced {
		return false
	}
	for _, o := range v.Obligations {
		if o.Kind == event.Redact {
			return true
		}
	}
	return v.Action.Stops()
}

// answer makes the error stanza for the sender of n. A message to nobody was to the account itself.
func (r refusal) answer(n *xmlstream.Node, to, account string) []byte {
	return r.stanza(n, cmp.Or(n.Attr("to"), account), to)
}

// instead makes the error that comes in the place of an answer. It has no words: those are for who was refused.
func (r refusal) instead(n *xmlstream.Node, to string) []byte {
	r.text = ""
	return r.stanza(n, "", to)
}

func (r refusal) stanza(n *xmlstream.Node, from, to string) []byte {
	out := append([]byte{'<'}, n.Local...)
	out = append(out, " xmlns='jabber:client' type='error'"...)
	out = attribute(out, "from", from)
	out = attribute(out, "to", to)
	out = attribute(out, "id", n.Attr("id"))
	out = append(out, "><error type='"+r.kind+"'><"+r.condition+" xmlns='"+nsStanzas+"'/>"...)
	if r.text != "" {
		out = append(out, "<text xmlns='"+nsStanzas+"' xml:lang='en'>"...)
		out = append(xmlstream.Escape(out, r.text), "</text>"...)
	}
	out = append(out, "</error></"...)
	return append(append(out, n.Local...), '>')
}

func attribute(out []byte, name, value string) []byte {
	if value == "" {
		return out
	}
	out = append(append(append(out, ' '), name...), "='"...)
	return append(xmlstream.Escape(out, value), '\'')
}

// answerable reports whether an error may be sent about n: never about an error or a result.
func answerable(n *xmlstream.Node) bool {
	t := n.Attr("type")
	return t != "error" && t != "result"
}
