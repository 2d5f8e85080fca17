package console

import (
	"net/http"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
)

type personData struct {
	Who       string
	Person    archive.Person
	Filter    filterForm
	Line      []entry
	Next      string
	Sightings []archive.Sighting
}

// Held is the name that a hold on them would have.
func (d personData) Held() string {
	if d.Person.ID != "" {
		return d.Person.ID
	}
	return d.Who
}

func (c *Console) person(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	d := personData{Who: r.FormValue("who")}
	if strings.TrimSpace(d.Who) == "" {
		return "", nil, archive.ErrNotFound
	}
	form, filter, err := filterOf(r)
	if err != nil {
		return "", nil, err
	}
	d.Filter = form
	if d.Person, err = v.Person(r.Context(), d.Who); err != nil {
		return "", nil, err
	}
	part, err := v.Timeline(r.Context(), d.Who, filter, archive.Page{Cursor: r.FormValue("cursor"), Limit: 200})
	d.Line, d.Next = fold(part.Items), part.Next
	if err == nil && d.Person.ID != "" {
		d.Sightings, err = v.Sightings(r.Context(), archive.SightingFilter{Person: d.Person.ID})
	}
	return "person", d, err
}

// entry is one line of a time line: a record, and those right before it that say the same of the same machine.
type entry struct {
	archive.Record
	More []archive.Record
}

// Since is when the earliest of the line happened.
func (e entry) Since() time.Time { return e.More[len(e.More)-1].Event.Time }

// fold puts records that follow each other and say the same into one line: a messenger makes hundreds of flows an hour.
func fold(items []archive.Record) []entry {
	var out []entry
	for _, r := range items {
		if n := len(out); n > 0 && alike(out[n-1].Record, r) {
			out[n-1].More = append(out[n-1].More, r)
			continue
		}
		out = append(out, entry{Record: r})
	}
	return out
}

// alike reports whether two records are of the same kind of traffic, of the same messenger, machine, verdict and day.
func alike(a, b archive.Record) bool {
	switch a.Event.Kind {
	case event.FlowSeen, event.DNSQuery, event.WebRequest:
	default:
		return false
	}
	day := func(r archive.Record) string { return r.Event.Time.UTC().Format(time.DateOnly) }
	return !a.Erased && !b.Erased && a.Event.Kind == b.Event.Kind && a.Event.Host == b.Event.Host && a.Event.App() == b.Event.App() &&
		a.Action == b.Action && a.Rule == b.Rule && a.Event.Verdict.Enforced == b.Event.Verdict.Enforced && day(a) == day(b)
}
