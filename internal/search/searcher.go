package search

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Index answers queries whose matters are resolved.
type Index interface {
	// Find yields the records that match, newest first by time, then by id, from the cursor on.
	Find(ctx context.Context, e *Expr, cursor string) iter.Seq2[archive.Selected, error]
	// Count returns how many match.
	Count(ctx context.Context, e *Expr) (int, error)
}

// Matters tells what a matter is about.
type Matters interface {
	// Names returns the people, rooms and hosts held under a matter, or an error when there is none of that name.
	Names(ctx context.Context, matter string) (people, rooms, hosts []string, err error)
	// Matter returns the name of a matter that is written as it is, or as shown shows it.
	Matter(written string, shown func(string) string) (string, error)
}

// Searcher searches the record for readers.
type Searcher struct {
	index   Index
	matters Matters // nil: there are none
}

// New returns a searcher over an index. Matters may be nil.
func New(index Index, matters Matters) *Searcher { return &Searcher{index, matters} }

// Search yields the records that match a query, as the reader sees them, newest first, at most limit of them (0: all), from the cursor on.
// The search is on record before the first one.
func (s *Searcher) Search(ctx context.Context, v *archive.View, query, cursor string, limit int) iter.Seq2[archive.Selected, error] {
	return func(yield func(archive.Selected, error) bool) {
		for f, err := range s.search(ctx, v, query, cursor, limit) {
			if !yield(f.shown, err) {
				return
			}
		}
	}
}

// Stored yields the records that Search would, as they are stored. It is for deciding on them anew; nothing of them may be shown.
func (s *Searcher) Stored(ctx context.Context, v *archive.View, query string) iter.Seq2[archive.Selected, error] {
	return func(yield func(archive.Selected, error) bool) {
		for f, err := range s.search(ctx, v, query, "", 0) {
			if !yield(f.stored, err) {
				return
			}
		}
	}
}

func (s *Searcher) search(ctx context.Context, v *archive.View, query, cursor string, limit int) iter.Seq2[found, error] {
	return func(yield func(found, error) bool) {
		a, err := s.prepare(ctx, v, query)
		if err != nil {
			yield(found{}, err)
			return
		}
		n := 0
		for f, err := range a.find(ctx, s.index, v, cursor) {
			if !yield(f, err) || err != nil {
				return
			}
			if n++; n == limit {
				return
			}
		}
	}
}

// Count returns how many records match a query. That, too, tells of content, and is on record first.
func (s *Searcher) Count(ctx context.Context, v *archive.View, query string) (int, error) {
	a, err := s.prepare(ctx, v, query)
	if err != nil {
		return 0, err
	}
	if a.shown == nil || !a.shown.telling() {
		return s.index.Count(ctx, a.stored)
	}
	n := 0
	for _, err := range a.find(ctx, s.index, v, "") {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

func (s *Searcher) prepare(ctx context.Context, v *archive.View, query string) (asked, error) {
	e, err := Parse(query)
	if err != nil {
		return asked{}, err
	}
	if err := s.resolve(ctx, v, e.clone()); err != nil { // a mistake is said before the search is on record
		return asked{}, err
	}
	if err := v.Look(ctx, "search "+query); err != nil {
		return asked{}, err
	}
	return s.ask(ctx, v, e)
}

// resolve replaces matter: by the people, rooms and hosts it holds.
func (s *Searcher) resolve(ctx context.Context, v *archive.View, e *Expr) error {
	for _, a := range e.Args {
		if err := s.resolve(ctx, v, a); err != nil {
			return err
		}
	}
	if e.Op != Facet || e.Field != fieldMatter {
		return nil
	}
	if s.matters == nil || e.Prefix {
		return &SyntaxError{e.Pos, fmt.Sprintf("there is no matter %q", e.Value)}
	}
	matter, err := s.matters.Matter(e.Value, v.Text)
	if err != nil {
		return &SyntaxError{e.Pos, err.Error()}
	}
	people, rooms, hosts, err := s.matters.Names(ctx, matter)
	if err != nil {
		return &SyntaxError{e.Pos, err.Error()}
	}
	out := &Expr{Op: Or, Pos: e.Pos}
	for field, names := range map[string][]string{fieldPerson: people, "room": rooms, "host": hosts} {
		for _, name := range names {
			out.Args = append(out.Args, &Expr{Op: Facet, Field: field, Value: Fold(name), Pos: e.Pos, named: name})
		}
	}
	*e = *out
	return nil
}

// Hit is a record as `chaperone search --json` prints it: one object a line.
type Hit struct {
	Type       string   `json:"type"` // always "message"
	ID         string   `json:"id"`
	Kind       string   `json:"kind"`
	Time       string   `json:"time"`
	Until      string   `json:"until,omitempty"` // end of a gap
	Connector  string   `json:"connector"`
	Room       string   `json:"room"`
	From       string   `json:"from"`
	To         []string `json:"to"`
	Text       string   `json:"text"`
	Subject    string   `json:"subject,omitempty"` // of a message, or the topic of a room
	Verdict    string   `json:"verdict"`
	Rule       string   `json:"rule"`
	RevisionOf string   `json:"revision_of"`
	Host       string   `json:"host,omitempty"`
	App        string   `json:"app,omitempty"`
	Erased     bool     `json:"erased,omitempty"`
	NotRead    string   `json:"not_readable,omitempty"` // reason code: key_missing
}

// What is said of a record whose content is there and cannot be read, because its key is missing from the keys folder: in code and in words.
const (
	ReasonKeyMissing = "key_missing"
	KeyMissing       = "content not readable: its key is missing"
)

// HitOf makes the hit of a record.
func HitOf(r archive.Record) Hit {
	e := r.Event
	h := Hit{
		Type: "message", ID: string(e.ID), Kind: string(e.Kind), Time: e.Time.UTC().Format(time.RFC3339Nano), Connector: e.Connector,
		Room: e.Room.Name, From: e.From.Handle, To: []string{}, Text: Summary(e), Subject: e.Subject,
		Verdict: string(r.Action), Rule: r.Rule, RevisionOf: string(e.Refers), Host: e.Host.Name, App: e.App(), Erased: r.Erased,
	}
	if !e.Until.IsZero() {
		h.Until = e.Until.UTC().Format(time.RFC3339Nano)
	}
	for _, to := range e.To {
		h.To = append(h.To, to.Handle)
	}
	if r.KeyLost {
		h.NotRead, h.Text, h.Subject = ReasonKeyMissing, KeyMissing, ""
	}
	return h
}

// What says in one line what was written, its subject first.
func (h Hit) What() string {
	if h.Subject == "" || h.Subject == h.Text {
		return h.Text
	}
	return "subject: " + h.Subject + "; " + h.Text
}

// Summary says in one text what a record is about: what was written, else what was asked for, found or done.
func Summary(e *event.Event) string {
	switch {
	case e.Text != "":
		return e.Text
	case len(e.Files) > 0:
		return e.Files[0].Name
	case e.Flow != nil:
		return joinWords(e.Flow.App, e.Flow.Service, e.Flow.Name, e.Flow.Server)
	case e.Question != nil:
		return joinWords(e.Question.Name, e.Question.Type)
	case e.Web != nil:
		return joinWords(e.Web.Method, e.Web.URL)
	case e.Program != nil:
		return joinWords(e.Program.App, e.Program.Path, e.Program.Inside)
	case e.Act != nil:
		return joinWords(e.Act.Action, e.Act.Object)
	case e.Kind == event.Gap:
		return e.Explanation
	}
	return e.Subject
}

func joinWords(words ...string) string {
	out := ""
	for _, w := range words {
		if w != "" && out != "" {
			out += " "
		}
		out += w
	}
	return out
}
