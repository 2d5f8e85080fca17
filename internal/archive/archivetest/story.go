// Package archivetest tests drivers of the archive: one suite, run by each.
package archivetest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// Story makes entries as a projector would: people who write in rooms and to each other, correct and take back what they wrote, hosts that
// speak to messengers and carry them, later verdicts, acts, and some records whose content is gone. The same seed tells the same story.
func Story(seed uint64, n int) []archive.Entry {
	w := &writer{rng: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	for len(w.entries) < n {
		w.next()
	}
	return w.entries
}

type writer struct {
	rng     *rand.Rand
	now     time.Time
	entries []archive.Entry
	written []*event.Event // messages
}

// Entry makes the next entry of a journal out of an event; a nil *event.Event of the entry stands for content that is gone.
func Entry(i int, e *event.Event, gone bool) archive.Entry {
	h, _, err := e.Split(make([]byte, event.SaltSize))
	if err != nil {
		panic(err) // a story that cannot be told
	}
	entry := archive.Entry{Position: journal.Position{Stream: journal.Local, Sequence: uint64(i/7 + 1), Record: i%7 + 1}, Header: h, Event: e}
	if gone {
		entry.Event = nil
	}
	return entry
}

func (w *writer) add(e *event.Event) {
	e.Received = w.now
	if e.Time.IsZero() {
		e.Time = w.now
	}
	e.ID = event.ID(fmt.Sprintf("0195%04x-%04x-7%03x-8000-%012x", w.rng.IntN(1<<16), w.rng.IntN(1<<16), w.rng.IntN(1<<12), len(w.entries)))
	w.entries = append(w.entries, Entry(len(w.entries), e, w.rng.IntN(40) == 0))
	w.now = w.now.Add(time.Duration(w.rng.IntN(4000)) * time.Millisecond)
}

func pick[T any](w *writer, from ...T) T { return from[w.rng.IntN(len(from))] }

func (w *writer) party(i int) event.Party {
	names := []string{"alice", "bob", "José", "王芳"}
	p := event.Party{ID: fmt.Sprintf("h%d", i), Handle: fmt.Sprintf("%s@example.org", names[i]), Name: names[i] + " Example"}
	if i < 3 {
		p.Person = names[i]
	}
	return p
}

func (w *writer) text() string {
	words := []string{"take", "this", "offline", "Ångström", "report", "#deal", "@bob", "北京大学", "4111", "delete", "été", "https://example.com/x", "👍", "the", "the", "the"}
	out := ""
	for range 1 + w.rng.IntN(8) {
		out += pick(w, words...) + " "
	}
	return out
}

func (w *writer) verdict() event.Verdict {
	if w.rng.IntN(5) == 0 {
		return event.Verdict{Action: event.Block, Rule: "cards", Say: "no", Enforced: true, Obligations: []event.Obligation{{Kind: event.Review, Rule: "venue"}}}
	}
	return event.Verdict{Action: event.Allow, Rule: "otherwise"}
}

func (w *writer) next() {
	switch k := w.rng.IntN(20); {
	case k < 10 || len(w.written) == 0:
		w.message()
	case k < 14:
		w.revise()
	case k < 16:
		w.flow()
	case k < 17:
		w.program()
	case k < 18:
		w.add(&event.Event{Kind: event.VerdictSet, Connector: "review", Refers: pick(w, w.written...).ID, Verdict: event.Verdict{Action: pick(w, event.Allow, event.Quarantine), Rule: "reviewer"}})
	default:
		w.add(&event.Event{Kind: event.Act, Connector: "console", From: event.Party{Handle: "rita"}, Verdict: event.Verdict{},
			Content: event.Content{Act: &event.ActDetail{Action: archive.ActRead, Object: "search offline", Purpose: "case 7"}}})
	}
}

func (w *writer) message() {
	from := w.rng.IntN(4)
	e := &event.Event{Kind: event.Message, Connector: pick(w, "office", "irc"), From: w.party(from), Verdict: w.verdict(), Content: event.Content{Text: w.text()}}
	if w.rng.IntN(2) == 0 {
		e.Room = event.Room{ID: "r1", Name: "desk@rooms.example.org"}
	} else {
		e.To = []event.Party{w.party((from + 1) % 4)}
	}
	if w.rng.IntN(6) == 0 {
		e.Kind = event.FileUpload
		e.Files = []event.File{{Name: "Q3 Report.pdf", SHA256: "9f86d0", Key: []byte("secret"), Size: 12}}
	}
	if w.rng.IntN(10) == 0 {
		e.Reason = event.ReasonOversize
	}
	w.add(e)
	w.written = append(w.written, e)
}

func (w *writer) revise() {
	of := pick(w, w.written...)
	e := &event.Event{Kind: pick(w, event.Edit, event.Retraction, event.Reaction, event.Delivery), Connector: of.Connector, Room: of.Room, From: of.From, To: of.To,
		Refers: of.ID, Verdict: w.verdict()}
	switch e.Kind {
	case event.Edit:
		e.Text = w.text()
	case event.Reaction:
		e.Text = "👍"
	case event.Delivery:
		e.Phase = event.HandedOver
	}
	w.add(e)
	if e.Kind == event.Edit && w.rng.IntN(3) == 0 {
		w.written = append(w.written, e) // so that edits of edits happen
	}
}

func (w *writer) host() event.Host {
	i := 1 + w.rng.IntN(2)
	h := event.Host{ID: fmt.Sprintf("m%d", i), Name: fmt.Sprintf("laptop-%d", i), Address: fmt.Sprintf("10.0.0.%d", i)}
	if i == 1 {
		h.Person = "alice"
	}
	return h
}

func (w *writer) flow() {
	w.add(&event.Event{Kind: event.FlowSeen, Connector: "border", Host: w.host(), Verdict: w.verdict(), Content: event.Content{
		Flow: &event.Flow{Proto: "tcp", Client: "10.0.0.1:51000", Server: "157.240.0.60:443", App: pick(w, "whatsapp", "signal"), Service: "chat", Name: "web.whatsapp.com", Confidence: event.High}}})
}

func (w *writer) program() {
	w.add(&event.Event{Kind: event.FindingHit, Connector: "agent", Host: w.host(), Verdict: w.verdict(), Content: event.Content{
		Program: &event.Program{Path: `C:\Users\a\Downloads\holiday.exe`, App: "whatsapp", Publisher: "CN=WhatsApp LLC", Confidence: event.Exact}}})
}
