package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Finder fills in what a case or an explanation leaves out: findings and recognised messengers. cmd wires it; nil parts are left out.
type Finder struct {
	Inspect func(ctx context.Context, e *event.Event)                               // adds hits and not-inspected marks
	AppOf   func(name, address string) (app, service string, sure event.Confidence) // the catalog's messenger of a host name or address
}

// Fill completes an event: inspects texts, and looks names and addresses up in the catalog where no messenger is given.
func (f Finder) Fill(ctx context.Context, e *event.Event) {
	if f.Inspect != nil && e.Text != "" {
		f.Inspect(ctx, e)
	}
	if f.AppOf == nil {
		return
	}
	switch {
	case e.Flow != nil && e.Flow.App == "":
		app, service, sure := f.AppOf(e.Flow.Name, e.Flow.Server)
		e.Flow.App, e.Flow.Confidence = app, sure
		if e.Flow.Service == "" {
			e.Flow.Service = service
		}
	case e.Question != nil && e.Question.App == "":
		if app, _, sure := f.AppOf(e.Question.Name, ""); sure > event.Low {
			e.Question.App = app // a name that others use too names nobody, as in the resolver
		}
	}
}

// Failure is a case whose verdict was not the wanted one.
type Failure struct {
	Case int    // its number, from 0
	Line int    // where it stands in the file
	Msg  string // what was wanted and what came
	Got  event.Verdict
}

// RunTests runs the cases of the policy file and returns those that failed, and how many there were.
func (p *Policy) RunTests(ctx context.Context, find Finder) (failures []Failure, count int) {
	for i := range p.file.Tests {
		c := &p.file.Tests[i]
		fail := func(v event.Verdict, format string, args ...any) {
			failures = append(failures, Failure{i, p.file.ErrorAt("", "", "tests", i).Line, fmt.Sprintf(format, args...), v})
		}
		in, err := c.Input()
		if err != nil {
			fail(event.Verdict{}, "%v", err)
			continue
		}
		find.Fill(ctx, in.Event)
		v := p.Decide(in)
		if string(v.Action) != c.Verdict || c.Rule != "" && v.Rule != c.Rule {
			fail(v, "wanted %s%s, got %s%s", c.Verdict, by(c.Rule), v.Action, by(v.Rule))
			continue
		}
		if missing := missingObligations(c.Also, v.Obligations); missing != "" {
			fail(v, "wanted the obligation %s, got %v", missing, v.Obligations)
		}
	}
	return failures, len(p.file.Tests)
}

func by(rule string) string {
	if rule == "" {
		return ""
	}
	return " by " + rule
}

func missingObligations(want List, got []event.Obligation) string {
	for _, w := range want {
		if !slices.ContainsFunc(got, func(o event.Obligation) bool { return o.Kind+":"+o.Rule == w }) {
			return w
		}
	}
	return ""
}

// defaultCaseTime is a Monday in working hours.
var defaultCaseTime = time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)

// Input makes the input of a case, before anything is found in it.
func (c *Test) Input() (*Input, error) {
	now := defaultCaseTime
	if c.At != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, c.At); err != nil {
			return nil, fmt.Errorf("at: a moment such as 2026-01-05T10:00:00Z is needed")
		}
	}
	e := &event.Event{Time: now, Received: now}
	in := &Input{Event: e, Now: now, Final: true}
	parts := 0
	if c.Message != nil {
		parts++
		c.Message.fill(e)
	}
	if c.Flow != nil {
		parts++
		in.Final = !c.Flow.Pending
		if err := c.Flow.fill(e); err != nil {
			return nil, err
		}
	}
	if c.Question != nil {
		parts++
		e.Kind, e.From, e.Host = event.DNSQuery, event.Party{Person: c.Question.Person}, event.Host{Name: c.Question.Host, Person: c.Question.Person}
		e.Question = &event.Question{Name: c.Question.Name, App: c.Question.App, Client: c.Question.Client, Type: "A"}
	}
	if c.Program != nil {
		parts++
		if err := c.Program.fill(e); err != nil {
			return nil, err
		}
	}
	if parts != 1 {
		return nil, fmt.Errorf("a case has one of message, flow, question and program")
	}
	return in, nil
}

func (m *TestMessage) fill(e *event.Event) {
	e.Kind, e.Text, e.Room.Name, e.From = event.Message, m.Text, m.Room, event.Party{Handle: m.From, Person: m.From}
	if m.File != "" {
		e.Kind = event.FileUpload
		e.Files = []event.File{{Name: m.File}}
	}
	if m.Kind != "" {
		e.Kind = event.Kind(m.Kind)
	}
	for _, to := range m.To {
		party := event.Party{Handle: to, Person: to}
		if m.Room == "" {
			e.To = append(e.To, party)
		} else {
			e.Audience = append(e.Audience, party)
		}
	}
	for _, h := range m.Hits {
		inspector, name, both := strings.Cut(h, "/")
		if !both {
			inspector, name = "test", h
		}
		e.Hits = append(e.Hits, event.Hit{Inspector: inspector, Name: name, Count: 1, Confidence: event.Exact, File: m.File})
	}
	for _, reason := range m.NotInspected {
		e.NotChecked = append(e.NotChecked, event.NotInspected{Inspector: "test", Reason: reason, File: m.File})
	}
}

func (f *TestFlow) fill(e *event.Event) (err error) {
	e.Kind, e.From, e.Host = event.FlowSeen, event.Party{Person: f.Person}, event.Host{Name: f.Host, Person: f.Person}
	e.Flow = &event.Flow{Proto: f.Proto, Client: f.Client, Server: f.Server, App: f.App, Service: f.Service, Name: f.Name}
	if f.Proto == "" {
		e.Flow.Proto = "tcp"
	}
	if f.Protocol != "" {
		e.Facts = []event.Fact{{Name: ProtocolFact, Value: f.Protocol}}
	}
	e.Flow.Confidence, err = sureOf(f.App, f.Confidence)
	return err
}

func (t *TestProgram) fill(e *event.Event) (err error) {
	e.Kind, e.From, e.Host = event.FindingHit, event.Party{Person: t.Person}, event.Host{Name: t.Host, Person: t.Person}
	e.Program = &event.Program{App: t.App, SHA256: t.SHA256, Publisher: t.Publisher, Format: t.Format, Form: t.Form, Media: t.Media, Path: t.Path}
	e.Program.Confidence, err = sureOf(t.App, t.Confidence)
	return err
}

// sureOf returns how surely a case's messenger was recognised: exactly, unless the case says otherwise.
func sureOf(app, word string) (event.Confidence, error) {
	if word == "" && app != "" {
		return event.Exact, nil
	}
	c, ok := confidenceOf(word)
	if word != "" && !ok {
		return 0, fmt.Errorf("confidence: low, medium, high or exact, not %q", word)
	}
	return c, nil
}
