package console

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/retention"
)

// disclosing is what the form needs that asks for a name: pseudonyms on a page, the reasons to choose from, and where to go on.
type disclosing struct {
	Hidden   []string
	Purposes []string
	Back     string
}

// discloseOf offers the pseudonyms among some names.
func (c *Console) discloseOf(back string, names ...string) disclosing {
	d := disclosing{Purposes: c.Purposes, Back: back}
	for _, n := range names {
		if pseudonym.Is(n) && !slices.Contains(d.Hidden, n) {
			d.Hidden = append(d.Hidden, n)
		}
	}
	return d
}

// askPerson offers the names behind the page of a person.
func (c *Console) askPerson(d personData) disclosing {
	names := []string{d.Person.ID}
	for _, h := range d.Person.Handles {
		names = append(names, h.Handle)
	}
	for _, h := range d.Person.Hosts {
		names = append(names, h.Name, h.Address)
	}
	return c.discloseOf(link("/person", "who", d.Who), names...)
}

// askRecord offers the names behind the page of a record.
func (c *Console) askRecord(r archive.Record) disclosing {
	names := []string{who(r.Event.From), r.Event.From.Handle, r.Event.Host.Person, r.Event.Host.Name, r.Event.Host.Address}
	for _, p := range r.Event.To[:min(len(r.Event.To), someParties)] {
		names = append(names, who(p))
	}
	return c.discloseOf(link("/record", "id", string(r.Event.ID)), names...)
}

// disclose shows a name from here on, for a purpose of its own, on record first.
func (c *Console) disclose(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	purpose := r.PostFormValue("purpose")
	if !slices.Contains(c.Purposes, purpose) {
		return "", nil, usageError("Choose one of the purposes. Your case number or note goes beside it.")
	}
	if note := strings.TrimSpace(r.PostFormValue("note")); note != "" {
		purpose += ": " + cut(note, 200)
	}
	if _, err := v.Disclose(r.Context(), r.PostFormValue("name"), purpose); err != nil {
		return "", nil, err
	}
	http.Redirect(w, r, home(r.PostFormValue("back")), http.StatusSeeOther)
	return "", nil, nil
}

// target returns the real name of what a form wants to hold. A pseudonym may stand for it; whom a name names is disclosed.
func (s *session) target(ctx context.Context, f holdForm) (string, error) {
	if f.Kind == string(retention.Room) || f.Name == "" {
		return f.Name, nil
	}
	if s.view == nil {
		if pseudonym.Is(f.Name) {
			return "", errPurpose
		}
		return f.Name, nil
	}
	return s.view.Name(ctx, f.Name)
}
