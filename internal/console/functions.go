package console

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
)

func (c *Console) functions() template.FuncMap {
	return template.FuncMap{
		"clock":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"rfc":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"app":     c.appName,
		"percent": func(p event.Confidence) string { return fmt.Sprintf("%.0f %%", 100*p.Float()) },
		"parties": parties,
		"who":     who,
		"summary": c.summary,
		"plane":   plane,
		"link":    link,
		"action":  func(r archive.Record) event.Action { return r.Action },
		"join":    func(s []string) string { return strings.Join(s, ", ") },
	}
}

func (c *Console) appName(id string) string {
	if name := c.Apps[id]; name != "" {
		return name
	}
	return id
}

// link makes an address of a path and query parameters, given as name, value pairs; empty values are left out.
func link(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// who names a party as people know it.
func who(p event.Party) string {
	switch {
	case p.Person != "":
		return p.Person
	case p.Name != "":
		return p.Name
	}
	return p.Handle
}

func parties(list []event.Party) string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = who(p)
	}
	return strings.Join(names, ", ")
}

// plane says which plane a kind belongs to, for the mark in a time line.
func plane(k event.Kind) string {
	switch k {
	case event.FlowSeen, event.DNSQuery, event.WebRequest:
		return "network"
	case event.ProgramRun, event.FindingHit, event.MediaIn:
		return "endpoint"
	case event.Act, event.Gap, event.VerdictSet:
		return "record"
	}
	return "conversation"
}

// summary says in one line what a record is about.
func (c *Console) summary(r archive.Record) string {
	e := r.Event
	switch {
	case r.Erased:
		return "content destroyed"
	case e.Flow != nil:
		return strings.TrimSpace(fmt.Sprintf("%s %s to %s %s", orUnknown(c.appName(e.Flow.App)), e.Flow.Service, e.Flow.Server, e.Flow.Name))
	case e.Question != nil:
		return fmt.Sprintf("asked for %s %s", e.Question.Name, e.Question.Type)
	case e.Program != nil:
		return fmt.Sprintf("%s %s in %s", orUnknown(c.appName(e.Program.App)), e.Program.Form, inside(e.Program))
	case e.Act != nil:
		return strings.TrimSpace(fmt.Sprintf("%s %s", e.Act.Action, e.Act.Object))
	case e.Kind == event.Delivery:
		return e.Phase
	case e.Kind == event.Retraction:
		return "took the message back"
	case len(e.Files) > 0 && e.Text == "":
		return "file " + e.Files[0].Name
	case e.Text != "":
		return e.Text
	}
	return strings.TrimSpace(e.Subject + " " + e.Room.Name + " " + e.Reason)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func inside(p *event.Program) string {
	if p.Inside == "" {
		return p.Path
	}
	return p.Path + "!/" + p.Inside
}
