package pipeline

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
)

// Bounds of what is remembered of earlier messages: how long, how many code points of one sender in one conversation, and in how many
// conversations, of which up to twice as many are in memory.
const (
	tailLife   = 2 * time.Minute
	tailLength = 128
	tailCount  = 4096
)

// tails are the ends of what people wrote last, by sender and conversation: what is cut into several messages reads as one there. They are in
// memory only.
type tails struct {
	mu       sync.Mutex
	now, old map[string]tail
}

type tail struct {
	text string
	at   time.Time
}

// conversationOf names who wrote to whom.
func conversationOf(e *event.Event) string {
	parts := []string{e.Connector, e.From.Handle, e.Room.ID, e.Room.Name}
	for _, to := range e.To {
		parts = append(parts, to.Handle)
	}
	return strings.Join(parts, "\x00")
}

// before returns what the sender wrote there last, "" when that is long ago.
func (t *tails) before(key string, at time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, ok := t.now[key]
	if !ok {
		last = t.old[key]
	}
	if age := at.Sub(last.at); age < 0 || age > tailLife {
		return ""
	}
	return last.text
}

// add remembers what was delivered.
func (t *tails) add(key, text string, at time.Time) {
	text = lastOf(text)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.now) >= tailCount || t.now == nil {
		t.old, t.now = t.now, map[string]tail{}
	}
	t.now[key] = tail{strings.Clone(text), at}
}

// lastOf returns the end of a text.
func lastOf(text string) string {
	at := len(text)
	for range tailLength {
		_, n := utf8.DecodeLastRuneInString(text[:at])
		at -= n
	}
	return text[at:]
}

// firstOf returns the beginning of a text.
func firstOf(text string) string {
	at := 0
	for range tailLength {
		_, n := utf8.DecodeRuneInString(text[at:])
		at += n
	}
	return text[:at]
}

// inspectTogether finds what is cut in two: it stands partly at the end of one text and partly at the beginning of the next, and not in either.
func (p *Pipeline) inspectTogether(ctx context.Context, e *event.Event, first, second string, earlier bool) {
	first, second = lastOf(first), firstOf(second)
	if strings.TrimSpace(first) == "" || strings.TrimSpace(second) == "" {
		return
	}
	text := first + "\n" + second
	border := utf8.RuneCountInString(first)
	for _, h := range p.deps.Inspection.Run(ctx, &inspect.Item{Text: text, Size: int64(len(text))}).Hits {
		h.Count = 0
		for _, s := range h.Spans {
			if s.Start < border && s.End > border+1 {
				h.Count++
			}
		}
		known := func(k event.Hit) bool { return k.Inspector == h.Inspector && k.Name == h.Name && k.File == h.File }
		if h.Count == 0 || slices.ContainsFunc(e.Hits, known) {
			continue
		}
		h.Spans, h.Earlier = nil, earlier
		e.Hits = append(e.Hits, h)
	}
}

// inspectEarlier finds what somebody cut into several messages, and returns how to remember this one.
func (p *Pipeline) inspectEarlier(ctx context.Context, e *event.Event) (remember func()) {
	if e.Kind != event.Message || e.Text == "" || e.From.Handle == "" {
		return func() {}
	}
	key, at := conversationOf(e), p.deps.Clock.Now()
	before := p.tails.before(key, at)
	p.inspectTogether(ctx, e, before, e.Text, true)
	return func() {
		if e.Verdict.Enforced && e.Verdict.Action != event.Allow {
			return // nobody got it
		}
		text := e.Text
		if before != "" {
			text = before + "\n" + text
		}
		p.tails.add(key, text, at)
	}
}
