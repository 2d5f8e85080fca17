package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/retention"
)

// Holds is what the console needs of the holds: the same operations as the command line's.
type Holds interface {
	List() []retention.Hold
	Preview(ctx context.Context, most int, scopes ...retention.Scope) (retention.Preview, error)
	Place(ctx context.Context, by, matter, reason string, scopes ...retention.Scope) error
	Release(ctx context.Context, by, matter, reason string) error
	Matter(written string, shown func(string) string) (string, error)
}

// previewed bounds how many records a preview looks at.
const previewed = 200_000

// maxHoldWords bounds matter, name and reason, in bytes; retention takes no more.
const maxHoldWords = 2000

type holdsData struct {
	Known bool // whether holds are kept here at all
	Holds []retention.Hold
}

// Matters lists what is held, each matter once.
func (d holdsData) Matters() []string {
	var out []string
	for _, h := range d.Holds {
		if !slices.Contains(out, h.Matter) && h.Matter != retention.Unreadable {
			out = append(out, h.Matter)
		}
	}
	return out
}

func (c *Console) holds(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	if err := v.Look(r.Context(), "holds"); err != nil {
		return "", nil, err
	}
	d := holdsData{Known: c.Deps.Holds != nil}
	if d.Known {
		d.Holds = retention.Shown(v, c.Deps.Holds.List())
	}
	return "holds", d, nil
}

// holdForm is what somebody is about to hold or to release, and what that would come to.
type holdForm struct {
	Kind, Name, Matter, Reason string

	Kinds   []retention.Kind
	Matters []string // known ones, to choose from
	Preview *retention.Preview
	Already string // the matter that holds it already
	Scopes  []retention.Scope
	target  string // the real name, when a pseudonym was written
	matter  string // the same, of the matter
}

func (c *Console) holdForm(r *http.Request, s *session) (holdForm, error) {
	f := holdForm{Kind: r.FormValue("kind"), Name: strings.TrimSpace(r.FormValue("name")), Matter: strings.TrimSpace(r.FormValue("matter")),
		Reason: strings.TrimSpace(r.FormValue("reason")), Kinds: []retention.Kind{retention.Person, retention.Room, retention.Host}}
	if c.Deps.Holds == nil {
		return f, usageError("Holds cannot be kept here: no compliance key is unlocked.")
	}
	if f.Kind == "" {
		f.Kind = string(retention.Person)
	}
	if !slices.Contains(f.Kinds, retention.Kind(f.Kind)) {
		return f, usageError("A person, a room or a host is held. Choose one of them.")
	}
	if max(len(f.Name), len(f.Matter), len(f.Reason)) > maxHoldWords {
		return f, usageError("That is too long: name, matter and reason have at most 2000 bytes each.")
	}
	var err error
	if f.target, err = s.target(r.Context(), f); err != nil {
		return f, err
	}
	shown := func(s string) string { return s }
	list := c.Deps.Holds.List()
	as := list
	if s.view != nil {
		shown, as = s.view.Text, retention.Shown(s.view, list)
	}
	switch f.matter, err = c.Deps.Holds.Matter(f.Matter, shown); {
	case errors.Is(err, retention.ErrNoMatter):
		f.matter = f.Matter // a new one
	case err != nil:
		return f, usageError("Several matters are shown by that name. Write the real name of the one you mean.")
	}
	f.Matters = holdsData{Holds: as}.Matters()
	for i, h := range list {
		if h.Scope == f.scope() {
			f.Already = as[i].Matter
		}
	}
	return f, nil
}

func (f holdForm) scope() retention.Scope {
	return retention.Scope{Kind: retention.Kind(f.Kind), Name: f.target}
}

// said refuses a form that lacks something.
func (f holdForm) said(names ...string) error {
	for _, name := range names {
		if map[string]string{"name": f.Name, "matter": f.Matter, "reason": f.Reason}[name] == "" {
			return usageError("The " + name + " is missing. A hold names what it holds, the matter it is for, and why. Go back and fill it in.")
		}
	}
	return nil
}

func (c *Console) holdPage(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	if _, err := s.look(); err != nil {
		return "", nil, err
	}
	f, err := c.holdForm(r, s)
	return "hold", f, err
}

// holdPreview shows what a hold would cover. Nothing is held yet.
func (c *Console) holdPreview(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	f, err := c.holdForm(r, s)
	if err == nil {
		err = f.said("name", "matter", "reason")
	}
	if err == nil {
		err = v.Look(r.Context(), "preview of a hold on "+f.Kind+" "+f.Name)
	}
	if err != nil {
		return "", nil, err
	}
	p, err := c.Deps.Holds.Preview(r.Context(), previewed, f.scope())
	f.Preview = &p
	return "hold", f, err
}

func (c *Console) placeHold(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	f, err := c.holdForm(r, s)
	if err == nil {
		err = f.said("name", "matter", "reason")
	}
	if err != nil {
		return "", nil, err
	}
	if err := c.Deps.Holds.Place(r.Context(), s.Account, f.matter, f.Reason, f.scope()); err != nil {
		return "", nil, errors.Join(errUnrecorded, err)
	}
	http.Redirect(w, r, "/holds", http.StatusSeeOther)
	return "", nil, nil
}

func (c *Console) releasePage(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	v, err := s.look()
	if err != nil {
		return "", nil, err
	}
	if err := v.Look(r.Context(), "holds"); err != nil {
		return "", nil, err
	}
	f, err := c.holdForm(r, s)
	if err != nil {
		return "", nil, err
	}
	held := slices.DeleteFunc(c.Deps.Holds.List(), func(h retention.Hold) bool { return h.Matter != f.matter })
	for _, h := range retention.Shown(v, held) {
		f.Scopes = append(f.Scopes, h.Scope)
	}
	if len(f.Scopes) == 0 {
		return "", nil, archive.ErrNotFound
	}
	return "release", f, nil
}

func (c *Console) releaseHold(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	f, err := c.holdForm(r, s)
	if err == nil {
		err = f.said("matter", "reason")
	}
	if err != nil {
		return "", nil, err
	}
	err = c.Deps.Holds.Release(r.Context(), s.Account, f.matter, f.Reason)
	switch {
	case errors.Is(err, retention.ErrNoMatter):
		return "", nil, usageError("No matter of that name holds anything. Nothing was released.")
	case err != nil:
		return "", nil, errors.Join(errUnrecorded, err)
	}
	http.Redirect(w, r, "/holds", http.StatusSeeOther)
	return "", nil, nil
}

// holdable is something that a page offers to hold.
type holdable struct{ Kind, Name string }

// maxHoldable bounds what a page of results offers.
const maxHoldable = 8

// holdables are the people, rooms and hosts of a list of records, in their order.
func holdables(records []archive.Record) []holdable {
	var out []holdable
	add := func(kind, name string) {
		if h := (holdable{kind, name}); name != "" && len(out) < maxHoldable && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	for _, r := range records {
		if r.Event.Kind == event.Act {
			continue
		}
		add("person", r.Event.From.Person)
		add("person", r.Event.Host.Person)
		add("room", r.Event.Room.Name)
		if r.Event.Host.Person == "" {
			add("host", r.Event.Host.Name)
		}
	}
	return out
}
