package console

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/policy"
)

type overviewData struct {
	Items    []health.Item
	Days     []dayLine
	Apps     []archive.AppCount
	Captures []archive.Capture
}

// dayLine is what one kind of event came to today.
type dayLine struct {
	Kind                                event.Kind
	Allowed, Held, Quarantined, Blocked int
}

func (c *Console) overview(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	now := c.Clock.Now()
	midnight := now.Truncate(24 * time.Hour)
	counts, err := c.Archive.Verdicts(r.Context(), midnight, now.Add(time.Hour))
	if err != nil {
		return "", nil, err
	}
	apps, err := c.Archive.Apps(r.Context())
	if err != nil {
		return "", nil, err
	}
	captures, err := c.Archive.Captures(r.Context(), midnight, now.Add(time.Hour))
	if err != nil {
		return "", nil, err
	}
	return "overview", overviewData{c.Board.Items(), byKind(counts), apps, captures}, nil
}

func byKind(counts []archive.DayCount) []dayLine {
	var out []dayLine
	at := map[event.Kind]int{}
	for _, n := range counts {
		i, ok := at[n.Kind]
		if !ok {
			i = len(out)
			at[n.Kind] = i
			out = append(out, dayLine{Kind: n.Kind})
		}
		switch n.Action {
		case event.Block:
			out[i].Blocked += n.Records
		case event.Hold:
			out[i].Held += n.Records
		case event.Quarantine:
			out[i].Quarantined += n.Records
		default:
			out[i].Allowed += n.Records
		}
	}
	return out
}

type messengersData struct {
	Apps      []archive.AppCount
	Sightings []archive.Sighting
	App       string
	Named     bool // whether the sightings, which name people, are shown
}

func (c *Console) messengers(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	apps, err := c.Archive.Apps(r.Context())
	d := messengersData{Apps: apps, App: r.FormValue("app"), Named: s.view != nil}
	if err == nil && s.view != nil {
		d.Sightings, err = s.view.Sightings(r.Context(), archive.SightingFilter{App: d.App})
	}
	return "messengers", d, err
}

func (s *session) look() (*archive.View, error) {
	if s.view == nil {
		return nil, errPurpose
	}
	return s.view, nil
}

func (c *Console) people(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	people, err := v.People(r.Context())
	return "people", people, err
}

type personData struct {
	Who       string
	Person    archive.Person
	Line      archive.Part[archive.Record]
	Sightings []archive.Sighting
}

func (c *Console) person(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	d := personData{Who: r.FormValue("who")}
	if d.Person, err = v.Person(r.Context(), d.Who); err != nil {
		return "", nil, err
	}
	d.Line, err = v.Timeline(r.Context(), d.Who, archive.Filter{}, archive.Page{Cursor: r.FormValue("cursor"), Limit: 100})
	if err == nil && d.Person.ID != "" {
		d.Sightings, err = v.Sightings(r.Context(), archive.SightingFilter{Person: d.Person.ID})
	}
	return "person", d, err
}

func (c *Console) conversations(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	part, err := v.Conversations(r.Context(), r.FormValue("who"), archive.Page{Cursor: r.FormValue("cursor")})
	return "conversations", part, err
}

type conversationData struct {
	Conversation archive.Conversation
	Messages     archive.Part[archive.Message]
}

func (c *Console) conversation(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	var d conversationData
	if d.Conversation, err = v.Conversation(r.Context(), r.FormValue("id")); err != nil {
		return "", nil, err
	}
	d.Messages, err = v.Messages(r.Context(), r.FormValue("id"), archive.Page{Cursor: r.FormValue("cursor")})
	return "conversation", d, err
}

type eventsData struct {
	Records archive.Part[archive.Record]
	Kind    string
	Verdict string
	Kinds   []event.Kind
	Actions []event.Action
}

func (c *Console) events(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	d := eventsData{Kind: r.FormValue("kind"), Verdict: r.FormValue("verdict"),
		Kinds:   []event.Kind{event.Message, event.Edit, event.Retraction, event.Reaction, event.FileUpload, event.Join, event.Leave, event.RoomChange, event.Delivery, event.Call, event.FlowSeen, event.DNSQuery, event.ProgramRun, event.FindingHit, event.Gap, event.Act},
		Actions: []event.Action{event.Allow, event.Hold, event.Quarantine, event.Block}}
	var f archive.Filter
	if d.Kind != "" {
		f.Kinds = []event.Kind{event.Kind(d.Kind)}
	}
	if d.Verdict != "" {
		f.Actions = []event.Action{event.Action(d.Verdict)}
	}
	d.Records, err = v.Events(r.Context(), f, archive.Page{Cursor: r.FormValue("cursor")})
	return "events", d, err
}

func (c *Console) record(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	rec, err := v.Record(r.Context(), event.ID(r.FormValue("id")))
	return "record", rec, err
}

type searchData struct {
	Text    string
	Records []archive.Record
	Error   string
	Limit   int
}

func (d searchData) query() string { return d.Text }

const searchLimit = 100

func (c *Console) search(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	d := searchData{Text: r.FormValue("q"), Limit: searchLimit}
	if d.Records, err = c.Search(r.Context(), v, d.Text, searchLimit); err != nil {
		if r.Context().Err() != nil {
			return "", nil, err
		}
		d.Error = err.Error()
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
		d.Error = err.Error()
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
	if err := c.act(r.Context(), s.Account, "ledger.verify", ""); err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Minute)
	defer cancel()
	result, err := c.Verify(ctx)
	if err != nil {
		return "", nil, usageError{errors.New("the check did not finish: " + err.Error())}
	}
	state, err := c.Ledger(r.Context())
	return "ledger", ledgerData{state, &result}, err
}
