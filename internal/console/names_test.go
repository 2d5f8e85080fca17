package console_test

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/retention"
)

// oddNames are ids that have a meaning in addresses, in queries or in no text at all.
func oddNames() []string {
	return []string{"/home/unknown", "%2Fhome%2Funknown", "a/b?c=d&e#f", "100%", "50%25 off", "a+b c", `quo"ted`, "..", "../../etc", ";semi;colon", "caf\xe9 \xff", "日本/語", "back\\slash", "a&amp;b", "name:with:colons", "(x)", "*"}
}

// TestPagesOfAnyName: whoever is on record has a page, whatever they are called; so has their machine, and their hold leads to its records.
func TestPagesOfAnyName(t *testing.T) {
	r := newRig(t, noon)
	for i, name := range oddNames() {
		e := &event.Event{ID: event.NewID(), Kind: event.Message, Time: at(10, i, 0), Received: at(10, i, 0), Connector: "office", From: event.Party{Handle: name, Person: "p" + name},
			To: []event.Party{{Handle: "x" + name}}, Host: event.Host{Name: "h" + name}, Content: event.Content{Text: "hello"}}
		if err := r.recorder.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	r.sync()
	v := r.reading("cora")
	links := regexp.MustCompile(`href="(/(?:person|holds/place|search|conversation)\?[^"]+)"`)
	for _, list := range []string{"/people", "/hosts", "/conversations", "/events"} {
		a := v.get(list)
		seen := map[string]bool{}
		for _, m := range links.FindAllStringSubmatch(a.body, -1) {
			at := html.UnescapeString(m[1])
			if seen[at] {
				continue
			}
			seen[at] = true
			if page := v.get(at); page.status != http.StatusOK || strings.Contains(page.text(), "hello") == strings.Contains(at, "/holds") {
				t.Errorf("%s leads to %s: %d\n%.300s", list, at, page.status, page.text())
			}
		}
		if len(seen) < len(oddNames()) {
			t.Errorf("%s leads to %d pages", list, len(seen))
		}
	}
}

// TestMattersOfAnyName: each hold leads to what it holds.
func TestMattersOfAnyName(t *testing.T) {
	r := newRig(t, noon)
	e := &event.Event{ID: event.NewID(), Kind: event.Message, Time: at(10, 0, 0), Received: at(10, 0, 0), Connector: "office", From: event.Party{Handle: "alice@example.org"}, Content: event.Content{Text: "hello"}}
	r.record(e)
	r.sync()
	for _, name := range oddNames() {
		if err := r.holds.Place(t.Context(), "cora", strings.ToValidUTF8(name, "?"), "letter", retention.Scope{Kind: retention.Person, Name: "alice@example.org"}); err != nil {
			t.Fatal(err)
		}
	}
	v := r.reading("cora")
	links := regexp.MustCompile(`href="(/(?:search|holds/release)\?[^"]+)"`)
	found := links.FindAllStringSubmatch(v.get("/holds").body, -1)
	if len(found) != 2*len(oddNames()) {
		t.Errorf("%d links", len(found))
	}
	for _, m := range found {
		at := html.UnescapeString(m[1])
		if page := v.get(at); page.status != http.StatusOK || strings.HasPrefix(at, "/search") && !strings.Contains(page.text(), "hello") {
			t.Errorf("%s: %d\n%.400s", at, page.status, page.text())
		}
	}
}
