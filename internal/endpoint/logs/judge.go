package logs

import (
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// EnforcerFact begins the name of the evidence that says which enforcer stopped a program; its value is the rule, as policy/export calls it.
const EnforcerFact = "enforcer:"

// Options of a Judge.
type Options struct {
	Rules     func() (*catalog.Catalog, policy.Decider)  // in force; the catalog is needed
	Host      func(name string, at time.Time) event.Host // whose machine a name is
	Owner     func(user string) string                   // name of a user; nil: as the log has it
	Connector string
	Now       func() time.Time
}

// Judge makes events of entries. It is safe for concurrent use.
type Judge struct {
	o    Options
	mu   sync.Mutex
	seen map[string]*repeated
}

// NewJudge returns a judge that has seen nothing.
func NewJudge(o Options) *Judge { return &Judge{o: o, seen: map[string]*repeated{}} }

// Bounds of what is joined: the same program that is stopped again within a minute, as the log has it, is one event.
const (
	again   = time.Minute
	maxSeen = 4096
)

type repeated struct {
	since  time.Time
	source string // of the entry that was told
	before int    // how often the same was stopped before it
	more   int
}

// first reports whether an entry is to be told, and how often the same was stopped since the last that was. One that was told and comes again, as it
// could not be recorded, is told again.
func (j *Judge) first(e *Entry, source string) (more int, ok bool) {
	key := strings.Join([]string{e.Enforcer, e.Host, e.User, e.Path, e.SHA256, e.Said}, "\x00")
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.seen[key]
	if r != nil && r.source == source {
		r.more = 0
		return r.before, true
	}
	if r != nil && !e.Time.Before(r.since) && e.Time.Sub(r.since) < again {
		r.more++
		return 0, false
	}
	if r != nil {
		more = r.more
	}
	if len(j.seen) >= maxSeen {
		clear(j.seen)
	}
	j.seen[key] = &repeated{since: e.Time, source: source, before: more}
	return more, true
}

// Judge returns the event of an entry, nil when it is the same as one a moment before. The verdict is what our policy says of that program, and
// block by EnforcerRule where our policy lets it run and the other enforcer did not; enforced is whether that stopped it. Source tells the line from all others.
func (j *Judge) Judge(e *Entry, source string) *event.Event {
	more, ok := j.first(e, source)
	if !ok {
		return nil
	}
	owner := e.User
	if j.o.Owner != nil {
		owner = j.o.Owner(e.User)
	}
	out := &event.Event{Kind: event.ProgramRun, Time: e.Time, Received: j.o.Now(), Connector: j.o.Connector, Source: event.SourceCapture, Host: j.o.Host(e.Host, e.Time)}
	if owner != "" {
		out.From = event.Party{Handle: owner, Person: out.Host.Person}
	}
	program := &event.Program{Path: e.Path, SHA256: e.SHA256, Publisher: e.Publisher, Version: e.Version, Owner: owner}
	out.Program = program
	origin := "from a log of " + e.Enforcer
	out.Evidence = []event.Evidence{{Fact: EnforcerFact + e.Enforcer, Value: e.Rule, Strength: event.Medium, Source: origin}}
	cat, decider := j.o.Rules()
	if m, ok := recognise(cat, e); ok {
		m.Evidence.Strength = min(m.Evidence.Strength, event.Medium) // seen by somebody else
		m.Evidence.Source = strings.TrimSuffix(origin+"; "+m.Evidence.Source, "; ")
		program.App, program.Form, program.Confidence = m.App, "client", m.Evidence.Strength
		out.Evidence = append(out.Evidence, m.Evidence)
	}
	out.Verdict = event.Verdict{Action: event.Allow}
	if decider != nil {
		out.Verdict = decider.Decide(&policy.Input{Event: out, Now: e.Time, Final: true})
	}
	denied(out, e)
	out.Explanation = said(e, more)
	return out
}

// EnforcerRule is the rule of a verdict that is the other enforcer's alone.
const EnforcerRule = "enforcer"

// denied makes the verdict say what became of the program. A real denial is a block whatever our policy thinks, who looks for blocks finds it.
func denied(out *event.Event, e *Entry) {
	v := &out.Verdict
	if !e.Watched && !v.Action.Stops() {
		v.Action, v.Rule, v.Say, v.Reason = event.Block, EnforcerRule, "", "denied by "+e.Enforcer
	}
	v.Enforced = v.Action.Stops() && !e.Watched
}

// said says what the other enforcer did.
func said(e *Entry, more int) string {
	did := "stopped it"
	if e.Watched {
		did = "would have stopped it"
	}
	text := fmt.Sprintf("%s %s: %s", e.Enforcer, did, e.Said)
	if more > 0 {
		text += fmt.Sprintf("; the same %d more times before", more)
	}
	return text
}

// recognise names the messenger by the strongest of what the log has. A file name alone is a hint, and the last that is asked.
func recognise(c *catalog.Catalog, e *Entry) (catalog.Match, bool) {
	name := path.Base(strings.ReplaceAll(e.Path, `\`, "/"))
	var best catalog.Match
	for _, found := range [][]catalog.Match{c.ByHash(e.SHA256), c.ByPublisherProduct(e.Publisher, e.Product, e.Time), c.ByBundle(e.Bundle), c.ByTeam(e.Team), c.ByPublisher(e.Publisher, e.Time),
		c.ByProduct(e.Product), c.ByExe(name)} {
		for _, m := range found {
			if m.Evidence.Strength > best.Evidence.Strength {
				best = m
			}
		}
	}
	return best, best.App != ""
}
