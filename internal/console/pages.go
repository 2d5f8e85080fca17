package console

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/search"
)

type messengersData struct {
	Apps      []archive.AppCount
	Sightings []archive.Sighting
	App       string
	Named     bool // whether the sightings, which name people, are shown
	More      int  // sightings beyond those shown
}

// maxRows bounds the lists that have no parts.
const maxRows = 300

func (c *Console) messengers(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	apps, err := c.Archive.Apps(r.Context())
	d := messengersData{Apps: apps, App: r.FormValue("app"), Named: s.view != nil}
	if err == nil && s.view != nil {
		d.Sightings, err = s.view.Sightings(r.Context(), archive.SightingFilter{App: d.App})
		d.More = max(0, len(d.Sightings)-maxRows)
		d.Sightings = d.Sightings[:len(d.Sightings)-d.More]
	}
	return "messengers", d, err
}

func (s *session) look() (*archive.View, error) {
	if s.view == nil {
		return nil, errPurpose
	}
	return s.view, nil
}

type peopleData struct {
	Text   string
	People []archive.Person
	More   int // people beyond those shown
}

func (c *Console) people(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	d := peopleData{Text: strings.TrimSpace(r.FormValue("who"))}
	if _, err := v.Name(r.Context(), d.Text); err != nil { // who writes a whole name knows it
		return "", nil, err
	}
	all, err := v.People(r.Context())
	if err != nil {
		return "", nil, err
	}
	for _, p := range all {
		if !called(p, search.Fold(d.Text)) {
			continue
		}
		if len(d.People) < maxRows {
			d.People = append(d.People, p)
		} else {
			d.More++
		}
	}
	return "people", d, nil
}

// called reports whether a part of one of the person's names is that.
func called(p archive.Person, part string) bool {
	names := []string{p.ID}
	for _, h := range p.Handles {
		names = append(names, h.Handle, h.Name)
	}
	for _, h := range p.Hosts {
		names = append(names, h.Name, h.Address)
	}
	return slices.ContainsFunc(names, func(n string) bool { return strings.Contains(search.Fold(n), part) })
}

type conversationsData struct {
	Who   string
	Part  archive.Part[archive.Conversation]
	Later bool
}

func (c *Console) conversations(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	d := conversationsData{Who: strings.TrimSpace(r.FormValue("who")), Later: r.FormValue("cursor") != ""}
	d.Part, err = v.Conversations(r.Context(), d.Who, archive.Page{Cursor: r.FormValue("cursor")})
	return "conversations", d, err
}

type conversationData struct {
	Conversation archive.Conversation
	Messages     archive.Part[archive.Message]
	Later        bool
}

func (c *Console) conversation(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	d := conversationData{Later: r.FormValue("cursor") != ""}
	if d.Conversation, err = v.Conversation(r.Context(), r.FormValue("id")); err != nil {
		return "", nil, err
	}
	d.Messages, err = v.Messages(r.Context(), r.FormValue("id"), archive.Page{Cursor: r.FormValue("cursor")})
	return "conversation", d, err
}

type eventsData struct {
	Records archive.Part[archive.Record]
	Filter  filterForm
}

func (c *Console) events(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	form, filter, err := filterOf(r)
	if err != nil {
		return "", nil, err
	}
	d := eventsData{Filter: form}
	d.Records, err = v.Events(r.Context(), filter, archive.Page{Cursor: r.FormValue("cursor")})
	return "events", d, err
}

type hostsData struct {
	Hosts []archive.Host
	More  int
}

func (c *Console) hosts(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	var d hostsData
	d.Hosts, err = v.Hosts(r.Context(), "")
	d.More = max(0, len(d.Hosts)-maxRows)
	d.Hosts = d.Hosts[:len(d.Hosts)-d.More]
	return "hosts", d, err
}

type searchData struct {
	Text    string
	Records []archive.Record
	Next    string
	Later   bool
	Error   string
}

// Holdables are what the results offer to hold.
func (d searchData) Holdables() []holdable { return holdables(d.Records) }

func (d searchData) query() string { return d.Text }

const searchPart = 50

func (c *Console) search(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	d := searchData{Text: r.FormValue("q"), Later: r.FormValue("cursor") != ""}
	cursor := ""
	for found, err := range c.Searcher.Search(r.Context(), v, d.Text, r.FormValue("cursor"), searchPart+1) {
		var syntax *search.SyntaxError
		if errors.As(err, &syntax) {
			d.Error = syntax.Error()
			return "search", d, nil
		}
		if err != nil {
			return "", nil, err
		}
		if len(d.Records) == searchPart { // there is at least one more
			d.Next = cursor
			break
		}
		d.Records, cursor = append(d.Records, found.Record), found.Cursor
	}
	return "search", d, nil
}

type policyData struct {
	Rules   []policy.RuleInfo
	Version string
	Form    policyForm
	Asked   bool
	Verdict event.Verdict
	Steps   []policy.Step
	Hits    []event.Hit
	Error   string
}

type policyForm struct{ From, To, Text, App, Name string }

func (c *Console) policyPage(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	p := c.Policy()
	d := policyData{Rules: p.Rules(), Version: p.Version(),
		Form: policyForm{r.FormValue("from"), r.FormValue("to"), r.FormValue("text"), r.FormValue("app"), r.FormValue("name")}}
	e := d.Form.event(c.Clock.Now())
	if e == nil {
		return "policy", d, nil
	}
	if err := c.Try(r.Context(), e); err != nil {
		c.Log.Error("inspect a text for the policy page", "error", err)
		d.Error = "The text could not be inspected; the health page says what is broken."
		return "policy", d, nil
	}
	explained := p.Explain(&policy.Input{Event: e, Now: e.Received, Final: true, LeavesOrg: p.LeavesOrg(e)})
	d.Asked, d.Verdict, d.Steps, d.Hits = true, explained.Verdict, explained.Steps, e.Hits
	return "policy", d, nil
}

// event makes the question of the form an event, nil when nothing was asked.
func (f policyForm) event(now time.Time) *event.Event {
	e := &event.Event{ID: event.NewID(), Time: now, Received: now, From: event.Party{Handle: f.From}}
	switch {
	case f.Text != "":
		e.Kind, e.Text = event.Message, f.Text
		for _, to := range strings.FieldsFunc(f.To, func(r rune) bool { return r == ',' || r == ' ' }) {
			e.To = append(e.To, event.Party{Handle: to})
		}
		e.Audience = e.To
	case f.Name != "" || f.App != "":
		e.Kind, e.From = event.FlowSeen, event.Party{}
		e.Flow = &event.Flow{Proto: "tcp", Client: netip.AddrPortFrom(netip.IPv4Unspecified(), 0).String(), Server: "0.0.0.0:443", App: f.App, Name: f.Name, Confidence: event.Exact}
	default:
		return nil
	}
	return e
}

func (c *Console) healthPage(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	return "health", c.Board.Items(), nil
}

type ledgerData struct {
	State  LedgerState
	Result *VerifyResult
}

func (c *Console) ledgerPage(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	state, err := c.Ledger(r.Context())
	return "ledger", ledgerData{State: state}, err
}

func (c *Console) verifyNow(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	if !c.checking.TryLock() {
		return "", nil, usageError("A check is running already. Its answer comes to whoever asked; try again when it is done.")
	}
	defer c.checking.Unlock()
	if err := c.act(r.Context(), s.Account, "ledger.verify", ""); err != nil {
		return "", nil, err
	}
	result, err := c.Verify(r.Context())
	if err != nil {
		c.Log.Error("verify from the console", "error", err)
		return "", nil, usageError("The check did not finish. Run chaperone verify on this machine: it says why.")
	}
	state, err := c.Ledger(r.Context())
	return "ledger", ledgerData{state, &result}, err
}
