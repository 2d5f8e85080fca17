// Package export says in one plan what a policy stops on machines and in browsers, for the programs of others that enforce it.
package export

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Plan is what a policy stops for one machine and person at one moment. Writers of formats turn it into rules of another enforcer.
type Plan struct {
	Policy    string // version of the policy
	Made      time.Time
	Audit     bool           // policy only watches programs: the other enforcer is to watch too
	Apps      []App          // messengers whose programs are stopped
	Hashes    []Hash         // files that policy names by their content, and files that a scan found
	Signers   []Signer       // subjects of signatures that a scan found on stopped programs
	Names     []Name         // names that browsers are not to open
	Watched   int            // names that policy stops but only watches: they are left out
	Clients   []Client       // approved messengers whose clients policy sets
	Removable *event.Verdict // programs on removable media are stopped, by this verdict
	// ProfileURL is where a device management serves the profile of macOS, "" where that was not said.
	ProfileURL string
	Notes      []string // what of the policy no format can say, and what else to know
}

// App is a messenger whose programs policy stops.
type App struct {
	catalog.App
	Rule string
	Say  string
}

// Hash is a file by its content.
type Hash struct {
	SHA256 string // hex, lower case, of the whole file
	App    string // "" when policy names the file itself
	Format string // pe, msi, elf, macho, …; "" when it is not known
	Rule   string
	Say    string
	Allow  bool // policy lets this file run, before what it stops
}

// Signer is a signature that a scan found on a stopped program.
type Signer struct {
	Subject string // as in the certificate, e.g. CN=Telegram FZ-LLC, O=Telegram FZ-LLC, L=Dubai, C=AE
	App     string
	Rule    string
}

// Name is a domain suffix that browsers are not to open: itself and all below it.
type Name struct {
	Suffix string
	App    string
	Rule   string
	Say    string
}

// Client is an approved messenger, and how its client is to be set.
type Client struct {
	catalog.App
	policy.Client
}

// Format writes a plan as the rules of another enforcer. Write returns what of the plan the format cannot say.
type Format struct {
	Name  string // as the command line calls it
	About string // what the file is, and where it goes
	Holds Holds  // of a plan
	Write func(w io.Writer, p *Plan) (left []string, err error)
	Rules func(p *Plan) []Rule // those that its log can tell apart; nil where nothing comes back from the enforcer
}

// Holds says which parts of a plan a format is for. What of these parts it cannot say, its Write returns.
type Holds struct {
	Programs bool // messengers, files and removable media
	Names    bool
	Clients  bool
}

// ErrWatched says that policy only watches, and that an enforcer knows no such mode.
var ErrWatched = errors.New("the policy only watches here (mode: monitor), and this enforcer cannot only watch")

// Subject is whom a plan is made for; both may be "".
type Subject struct {
	Host   string
	Person string
	Groups []string // of the person by the people directory
	Asked  bool     // the people directory was asked
}

// Found is a program that a scan found.
type Found struct {
	SHA256     string
	App        string
	Format     string
	Publisher  string
	Inside     string
	Confidence event.Confidence
}

// Options say what a plan is made from.
type Options struct {
	Subject Subject
	Now     time.Time
	Found   []Found
	Enforce bool // as if policy enforced what it only watches

	ProfileURL string // of Plan
}

// maker asks policy, and keeps the answers.
type maker struct {
	policy  *policy.Policy
	options Options
	plan    *Plan
	decided int // programs that were stopped
	watched int // of them, those that policy only watches
}

// Make asks the policy about each messenger's programs and names, as if they had been found with certainty.
func Make(p *policy.Policy, c *catalog.Catalog, o Options) *Plan {
	m := &maker{policy: p, options: o, plan: &Plan{Policy: p.Version(), Made: o.Now, ProfileURL: o.ProfileURL}}
	for _, app := range c.Apps() {
		v := m.program(&event.Program{App: app.ID, Form: "client", Confidence: event.Exact})
		if stops(&v) {
			m.plan.Apps = append(m.plan.Apps, App{app, v.Rule, v.Say})
		}
		m.client(&app, p.File(), &v)
		m.names(&app)
	}
	m.rules(p.File())
	for _, f := range o.Found {
		m.found(&f)
	}
	m.plan.Audit = !o.Enforce && m.watched > 0 && m.watched == m.decided
	if !o.Enforce && m.watched > 0 && m.watched < m.decided {
		m.note("%d of %d things that policy stops are only watched by it: they are stopped here all the same", m.watched, m.decided)
	}
	if next := p.NextChange(o.Now); !next.IsZero() {
		m.note("the policy changes by itself at %s: export it again then", next.UTC().Format(time.RFC3339))
	}
	return m.plan
}

// client takes up how the client of a messenger is to be set, where policy lets it run.
func (m *maker) client(app *catalog.App, f *policy.File, v *event.Verdict) {
	set, ok := f.Clients[app.ID]
	switch {
	case !ok:
	case stops(v):
		m.note("clients sets %s, which rule %s stops: its settings are left out", app.ID, v.Rule)
	default:
		m.plan.Clients = append(m.plan.Clients, Client{*app, set})
	}
}

func (m *maker) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(m.plan.Notes, n) {
		m.plan.Notes = append(m.plan.Notes, n)
	}
}

func stops(v *event.Verdict) bool { return v.Action.Stops() }

// decide asks about an event of the subject.
func (m *maker) decide(e *event.Event) event.Verdict {
	e.Time, e.Received = m.options.Now, m.options.Now
	e.From = event.Party{Handle: m.options.Subject.Person, Person: m.options.Subject.Person, Groups: m.options.Subject.Groups}
	e.Host = event.Host{Name: m.options.Subject.Host, Person: m.options.Subject.Person}
	return m.policy.Decide(&policy.Input{Event: e, Now: m.options.Now, Final: true})
}

// program asks about a program, and counts what is only watched.
func (m *maker) program(p *event.Program) event.Verdict {
	e := &event.Event{Kind: event.FindingHit}
	e.Program = p
	v := m.decide(e)
	if stops(&v) {
		m.decided++
		if !v.Enforced {
			m.watched++
		}
	}
	return v
}

// names asks about the names of a messenger that a browser would open. A name that other products use too is left to the network plane.
func (m *maker) names(app *catalog.App) {
	n := &app.Names
	for _, f := range slices.Concat(n.Web, n.Download, n.Service, n.Login, n.Chat, n.Call, n.File) {
		if f.Shared || slices.ContainsFunc(m.plan.Names, func(x Name) bool { return x.Suffix == f.Suffix }) {
			continue
		}
		e := &event.Event{Kind: event.DNSQuery}
		e.Question = &event.Question{Name: f.Suffix, Type: "A", App: app.ID}
		v := m.decide(e)
		switch {
		case !stops(&v):
		case v.Enforced || m.options.Enforce:
			m.plan.Names = append(m.plan.Names, Name{f.Suffix, app.ID, v.Rule, v.Say})
		default:
			m.plan.Watched++
		}
	}
}

// rules asks about what rules name besides messengers, and notes what can be said in no format.
func (m *maker) rules(f *policy.File) {
	for i := range f.Rules {
		r := &f.Rules[i]
		for _, sum := range r.Programs.SHA256 {
			sum = strings.ToLower(sum)
			v := m.program(&event.Program{SHA256: sum})
			if v.Rule == r.ID {
				m.plan.Hashes = append(m.plan.Hashes, Hash{SHA256: sum, Rule: v.Rule, Say: v.Say, Allow: !stops(&v)})
			}
		}
		if slices.Contains(r.Programs.Media, "removable") {
			if v := m.program(&event.Program{Media: "removable"}); stops(&v) && v.Rule == r.ID {
				m.plan.Removable = &v
			}
		}
		for what, list := range map[string]policy.List{"publisher": r.Programs.Publisher, "format": r.Programs.Format, "form": r.Programs.Form, "paths": r.Programs.Paths} {
			if len(list) > 0 {
				m.note("rule %s matches programs by %s: only Chaperone itself carries that out", r.ID, what)
			}
		}
		if len(r.Groups) > 0 && m.options.Subject.Host+m.options.Subject.Person == "" && (len(r.Apps) > 0 || !emptyPrograms(&r.Programs)) {
			m.note("rule %s holds for the groups %s: name a machine or a person to export what holds for it", r.ID, strings.Join(r.Groups, ", "))
		}
		for _, name := range r.Groups {
			if g := f.Groups[name]; len(g.People)+len(g.Networks)+len(g.Hosts) == 0 && !m.options.Subject.Asked {
				m.note("rule %s holds for the group %s, whose members the people directory gives: none was asked, nobody is a member", r.ID, name)
			}
		}
	}
	slices.Sort(m.plan.Notes)
}

func emptyPrograms(p *policy.Programs) bool {
	return len(p.SHA256)+len(p.Media)+len(p.Publisher)+len(p.Format)+len(p.Form)+len(p.Paths) == 0
}

// found asks about a program that a scan found: its content, and its signer, identify it where names do not.
func (m *maker) found(f *Found) {
	v := m.program(&event.Program{App: f.App, SHA256: f.SHA256, Format: f.Format, Publisher: f.Publisher, Confidence: f.Confidence})
	if !stops(&v) {
		return
	}
	if f.Inside == "" && !slices.ContainsFunc(m.plan.Hashes, func(h Hash) bool { return h.SHA256 == f.SHA256 }) {
		m.plan.Hashes = append(m.plan.Hashes, Hash{SHA256: f.SHA256, App: f.App, Format: f.Format, Rule: v.Rule, Say: v.Say})
	}
	if f.Publisher != "" && f.App != "" && !slices.ContainsFunc(m.plan.Signers, func(s Signer) bool { return s.Subject == f.Publisher && s.App == f.App }) {
		m.plan.Signers = append(m.plan.Signers, Signer{f.Publisher, f.App, v.Rule})
	}
}
