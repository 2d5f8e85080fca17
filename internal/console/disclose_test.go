package console_test

import (
	"errors"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/retention"
)

// TestPagesShowPseudonyms: no page names anybody until the reader does or asks for it, and every link of a pseudonym leads on.
func TestPagesShowPseudonyms(t *testing.T) {
	r := newRig(t, at(15, 0, 0))
	moved := r.tell()
	if err := r.holds.Place(t.Context(), "cora", "Bob v. Alice", "complaint of carol", retention.Scope{Kind: retention.Person, Name: "alice"}); err != nil {
		t.Fatal(err)
	}
	r.sync()
	r.veil = true
	r.serve(clock.Func(r.now), r.store)
	v := r.reading("cora")
	names := []string{"alice", "bob", "carol", "caterer", "laptop-17", "laptop-22", "10.0.0.17", "10.0.0.22"}
	visited, found := map[string]bool{}, regexp.MustCompile(`href="(/(?:person|record|conversation|people|hosts|conversations|events|messengers|search|holds)[^"#]*)"`)
	todo := []string{"/people", "/hosts", "/conversations", "/events", "/messengers", "/holds", "/search?q=", "/record?id=" + string(moved.ID)}
	for len(todo) > 0 && len(visited) < 80 {
		path := todo[0]
		todo = todo[1:]
		if visited[path] {
			continue
		}
		visited[path] = true
		a := v.get(path)
		if a.status != http.StatusOK {
			t.Errorf("%s gave %d", path, a.status)
		}
		body := strings.ReplaceAll(a.body, nonceOf(a), "") // chance writes bob into one of some thousand
		for _, name := range names {
			if i := strings.Index(strings.ToLower(body), name); i >= 0 {
				t.Errorf("%s names %s: …%.80s…", path, name, body[max(0, i-40):])
			}
		}
		for _, m := range found.FindAllStringSubmatch(a.body, -1) {
			todo = append(todo, html.UnescapeString(m[1]))
		}
	}
	if len(visited) < 30 {
		t.Errorf("only %d pages", len(visited))
	}
}

// TestHoldUnderAPseudonym: counsel holds whom they do not know by name, and what is held is the person.
func TestHoldUnderAPseudonym(t *testing.T) {
	r := newRig(t, at(15, 0, 0))
	r.tell()
	r.veil = true
	r.serve(clock.Func(r.now), r.store)
	v := r.reading("cora")
	hidden := regexp.MustCompile(`href="/person\?who=(person-[0-9A-Z-]+)"`).FindStringSubmatch(v.get("/search?q=tranche").body)
	if hidden == nil {
		t.Fatal("no pseudonym links to a person")
	}
	form := []string{"kind", "person", "name", hidden[1], "matter", "case-9", "reason", "complaint"}
	if a := v.post("/holds/preview", form...); a.status != http.StatusOK || !strings.Contains(a.body, hidden[1]) || strings.Contains(a.text(), "Nothing on record") || strings.Contains(a.body, "bob") {
		t.Errorf("the preview gave %d: %s", a.status, a.text())
	}
	if a := v.post("/holds/place", form...); a.status != http.StatusSeeOther {
		t.Fatalf("placing gave %d: %s", a.status, a.text())
	}
	if held := r.holds.List(); len(held) != 1 || held[0].Scope.Name != "bob" {
		t.Errorf("held is %+v", held)
	}
	for _, path := range []string{"/holds", "/holds/release?matter=case-9"} {
		if a := v.get(path); !strings.Contains(a.body, hidden[1]) || strings.Contains(a.body, "bob") {
			t.Errorf("%s: %s", path, a.text())
		}
	}
}

// TestMatterUnderAPseudonym: a matter that names somebody is shown without the name, and is asked by, added to and released as it is shown.
func TestMatterUnderAPseudonym(t *testing.T) {
	r := newRig(t, at(15, 0, 0))
	r.tell()
	for _, matter := range []string{"Bob v. Firm", "case-7"} {
		if err := r.holds.Place(t.Context(), "carl", matter, "letter of bob", retention.Scope{Kind: retention.Person, Name: "bob"}); err != nil {
			t.Fatal(err)
		}
	}
	r.sync()
	r.veil = true
	r.serve(clock.Func(r.now), r.store)
	v := r.reading("cora")
	m := regexp.MustCompile(`person-[0-9A-Z-]+ v\. Firm`).FindString(v.get("/holds").body)
	if m == "" {
		t.Fatal("the matter is not shown")
	}
	form := []string{"kind", "person", "name", "nobody", "matter", m, "reason", "complaint"}
	for _, a := range []answer{v.get("/holds"), v.get("/holds/place"), v.get("/holds/release?matter=" + url.QueryEscape(m)), v.post("/holds/preview", form...),
		v.get("/search?q=" + url.QueryEscape("matter:\""+m+"\""))} {
		if a.status != http.StatusOK || !strings.Contains(a.body, m) || strings.Contains(strings.ToLower(strings.ReplaceAll(a.body, nonceOf(a), "")), "bob") {
			t.Errorf("%d: %s", a.status, a.text())
		}
	}
	want(t, v.post("/holds/place", form...), http.StatusSeeOther)
	if n := len(r.holds.List()); n != 3 || r.holds.List()[1].Matter != "Bob v. Firm" {
		t.Errorf("held is %+v", r.holds.List())
	}
	want(t, v.post("/holds/release", "matter", m, "reason", "settled"), http.StatusSeeOther)
	if list := r.holds.List(); len(list) != 1 || list[0].Matter != "case-7" {
		t.Errorf("after the release %+v is held", list)
	}
}

// TestShowTheName: the button tells one name, for a purpose, on record first.
func TestShowTheName(t *testing.T) {
	r := newRig(t, at(15, 0, 0))
	r.tell()
	r.veil = true
	r.serve(clock.Func(r.now), r.store)
	v := r.reading("rita")
	hidden := regexp.MustCompile(`href="/person\?who=(person-[0-9A-Z-]+)"`).FindStringSubmatch(v.get("/search?q=tranche").body)
	if hidden == nil {
		t.Fatal("no pseudonym links to a person")
	}
	page := "/person?who=" + hidden[1]
	if a := v.get(page); !strings.Contains(a.body, "Show the name") || strings.Contains(a.body, "bob@example.org") {
		t.Errorf("the page of a pseudonym: %s", a.text())
	}
	frames := r.frames()
	if a := v.post("/disclose", "name", hidden[1], "purpose", "curiosity", "back", page); a.status != http.StatusBadRequest || r.frames() != frames {
		t.Errorf("a purpose that is not on the list gave %d", a.status)
	}
	if a := v.post("/disclose", "name", "person-0000-0000", "purpose", "Supervision review"); a.status != http.StatusNotFound {
		t.Errorf("nobody gave %d", a.status)
	}
	if a := v.post("/disclose", "name", hidden[1], "purpose", "Complaint or incident", "note", "nr 3", "back", page); a.status != http.StatusSeeOther || a.header.Get("Location") != page {
		t.Fatalf("the button gave %d to %s", a.status, a.header.Get("Location"))
	}
	acts := r.actsSince(frames)
	if i := slices.IndexFunc(acts, func(e *event.Event) bool { return e.Act.Action == archive.ActDisclose }); i < 0 || acts[i].Act.Object != hidden[1] ||
		acts[i].Act.Purpose != "Complaint or incident: nr 3" || acts[i].From.Handle != "rita" {
		t.Errorf("acts %+v", acts)
	}
	if a := v.get(page); !strings.Contains(a.body, "bob@example.org") || strings.Contains(a.body, "alice@example.org") {
		t.Errorf("after the button: %s", a.text())
	}
	if a := r.reading("cora").get(page); strings.Contains(a.body, "bob@example.org") {
		t.Error("another reader sees the name too")
	}
	if a := v.get("/people?who=" + url.QueryEscape("alice@example.org")); !strings.Contains(a.body, "alice") || strings.Contains(a.body, "carol") {
		t.Errorf("naming somebody among people: %s", a.text())
	}
	if a := r.as("adam").post("/disclose", "name", hidden[1], "purpose", "Supervision review"); a.status != http.StatusForbidden {
		t.Errorf("an administrator got %d", a.status)
	}
	r.acts.set(errors.New("disk full"))
	if a := v.post("/disclose", "name", hidden[1], "purpose", "Supervision review", "back", page); a.status != http.StatusSeeOther {
		t.Errorf("a name that is known already gave %d", a.status)
	}
}
