package console

import (
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/search"
)

func (c *Console) functions() template.FuncMap {
	return template.FuncMap{
		"clock":     instant,
		"day":       func(t time.Time) string { return t.UTC().Format("Monday 2 January 2006") },
		"hour":      func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"ago":       c.ago,
		"cut":       cut,
		"short":     func(r archive.Record) string { return cut(c.summary(r), shortText) },
		"long":      func(r archive.Record) string { return cut(c.summary(r), longText) },
		"stops":     event.Action.Stops,
		"bytes":     size,
		"rfc":       func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"app":       c.appName,
		"percent":   func(p event.Confidence) string { return fmt.Sprintf("%.0f %%", 100*p.Float()) },
		"parties":   parties,
		"who":       who,
		"summary":   c.summary,
		"plane":     plane,
		"link":      link,
		"talk":      archive.ConversationOf,
		"askPerson": c.askPerson,
		"askRecord": c.askRecord,
		"quoted":    search.Quoted,
		"join":      func(s []string) string { return strings.Join(s, ", ") },
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

// Bounds of what is shown of one record in a list, in a conversation, and of its parties; its own page shows all.
const (
	shortText   = 240
	longText    = 4000
	someParties = 6
)

func parties(list []event.Party) string {
	var names []string
	for _, p := range list[:min(len(list), someParties)] {
		names = append(names, cut(who(p), shortText))
	}
	if more := len(list) - someParties; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// instant writes a moment in UTC, as every page does.
func instant(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// ago says how long ago something was, in words.
func (c *Console) ago(t time.Time) string {
	d := c.Clock.Now().Sub(t)
	switch {
	case t.IsZero():
		return "never"
	case d < time.Minute:
		return "just now"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	days := int(d.Hours() / 24)
	if days > 2*365 {
		return fmt.Sprintf("%d years ago", days/365)
	}
	return fmt.Sprintf("%d days ago", days)
}

// size writes a number of bytes for people.
func size(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for ; f >= unit && i < 4; i++ {
		f /= unit
	}
	return fmt.Sprintf("%.1f %cB", f, "kMGTP"[i])
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
	case r.KeyLost:
		return search.KeyMissing
	case e.Flow != nil:
		return words(orUnknown(c.appName(e.Flow.App)), e.Flow.Service, "to", e.Flow.Server, e.Flow.Name)
	case e.Question != nil:
		return fmt.Sprintf("asked for %s %s", e.Question.Name, e.Question.Type)
	case e.Program != nil:
		return words(orUnknown(c.appName(e.Program.App)), e.Program.Form, "in", inside(e.Program))
	case e.Web != nil:
		return e.Web.Method + " " + e.Web.URL
	case e.CallDetail != nil:
		return words("call", e.Phase, e.CallDetail.Media)
	case e.Kind == event.Gap:
		return fmt.Sprintf("%s from %s to %s", e.Reason, instant(e.Time), instant(e.Until))
	case e.Act != nil:
		return words(e.Act.Action, e.Act.Object)
	case e.Kind == event.Delivery:
		return e.Phase
	case e.Kind == event.Retraction:
		return "took the message back"
	case e.Kind == event.Join && e.Text != "":
		return "joined as " + e.Text
	case len(e.Files) > 0 && e.Text == "":
		return subject(e) + "file " + e.Files[0].Name
	case e.Text != "":
		return subject(e) + e.Text
	}
	return words(e.Subject, e.Room.Name, e.Reason)
}

// subject is what stands before the text of a message that has a subject.
func subject(e *event.Event) string {
	if e.Subject == "" {
		return ""
	}
	return "subject: " + e.Subject + "; "
}

// words joins those that are not empty.
func words(list ...string) string {
	return strings.Join(slices.DeleteFunc(list, func(s string) bool { return s == "" }), " ")
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

// cut shortens a text to a number of code points.
func cut(s string, most int) string {
	n := 0
	for i := range s {
		if n == most {
			return s[:i] + "…"
		}
		n++
	}
	return s
}
