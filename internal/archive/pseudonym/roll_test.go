package pseudonym_test

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/event"
)

// call is an event with people in every place that they can have.
func call() *event.Event {
	return &event.Event{Kind: event.Call, From: event.Party{Handle: "carol@example.org", Person: "carol", Name: "Carol Jones"},
		To:   []event.Party{{Handle: "dan@example.org", Person: "dan"}},
		Host: event.Host{Name: "phone-9.example.org", Address: "::ffff:10.1.2.3", Person: "erin"},
		Content: event.Content{Audience: []event.Party{{Handle: "frank@example.org"}},
			CallDetail: &event.CallDetail{Parties: []event.Party{{Handle: "grace@example.org", Person: "grace"}}}}}
}

// TestAnEventTeaches everybody in it, in whatever place, and the account behind an act is nobody.
func TestAnEventTeaches(t *testing.T) {
	r := pseudonym.New([]byte("k"))
	r.Event(call())
	r.Event(call()) // known by now
	for _, name := range []string{"carol", "Carol Jones", "carol@example.org", "dan", "frank@example.org", "grace", "erin", "phone-9", "10.1.2.3"} {
		if got := r.Hide("x "+name+" y", nobody, nil); strings.Contains(got, name) {
			t.Errorf("%s comes through: %s", name, got)
		}
	}
	if a, b := pseudonym.OfAddress("::ffff:10.1.2.3"), pseudonym.OfAddress("10.1.2.3"); a != b {
		t.Errorf("one address is two: %v, %v", a, b)
	}
	act := &event.Event{Kind: event.Act, From: event.Party{Handle: "rita-the-reviewer"}, To: []event.Party{{Handle: "henry@example.org"}}}
	if got := pseudonym.Parties(act); len(got) != 1 || got[0].Handle != "henry@example.org" {
		t.Errorf("of an act take part %v", got)
	}
	r.Event(act)
	if got := r.Hide("rita-the-reviewer", nobody, nil); got != "rita-the-reviewer" {
		t.Errorf("an account became %s", got)
	}
}

// TestWhatAnEventAdds: one that is known but for one thing still teaches that thing.
func TestWhatAnEventAdds(t *testing.T) {
	for name, change := range map[string]func(e *event.Event){
		"Caroline Smith":   func(e *event.Event) { e.From.Name = "Caroline Smith" },
		"carol2@evil.test": func(e *event.Event) { e.From.Handle = "carol2@evil.test" },
		"ivan":             func(e *event.Event) { e.To[0].Person = "ivan" },
		"tablet-3":         func(e *event.Event) { e.Host.Name = "tablet-3" },
		"10.1.2.4":         func(e *event.Event) { e.Host.Address = "10.1.2.4" },
		"judy":             func(e *event.Event) { e.Host.Person = "judy" },
	} {
		r := pseudonym.New([]byte("k"))
		r.Event(call())
		if got := r.Hide(name, nobody, nil); got != name && name != "Caroline Smith" {
			t.Fatalf("%s is known before it was told: %s", name, got)
		}
		e := call()
		change(e)
		r.Event(e)
		if got := r.Hide(name, nobody, nil); strings.Contains(got, name) {
			t.Errorf("%s comes through: %s", name, got)
		}
	}
}

// TestTheOrderDoesNotMatter: whoever learns of the same people in another order, or from many sides at once, hides the same.
func TestTheOrderDoesNotMatter(t *testing.T) {
	var events []*event.Event
	for i := range 60 {
		events = append(events, &event.Event{Kind: event.Message, From: event.Party{Handle: fmt.Sprintf("h%d@example.org", i%40), Person: fmt.Sprintf("person%d", i%30), Name: fmt.Sprintf("First%d Last%d", i, i%5)},
			Host: event.Host{Name: fmt.Sprintf("host-%d", i%7)}})
	}
	text := "person7 and h3@example.org, Last2 on host-5; First11 Last1, h35@example.org"
	once, turned, together := pseudonym.New([]byte("k")).Shorten(2), pseudonym.New([]byte("k")).Shorten(2), pseudonym.New([]byte("k")).Shorten(2)
	for i := range events {
		once.Event(events[i])
		turned.Event(events[len(events)-1-i])
	}
	var wg sync.WaitGroup
	for side := range 8 {
		wg.Go(func() {
			for i := range events {
				together.Event(events[(i+side*7)%len(events)])
				p := together.Of(pseudonym.OfPerson(fmt.Sprintf("person%d", i%30)), "")
				if !pseudonym.Is(p) {
					t.Errorf("%q is no pseudonym", p)
				}
				together.Resolve(p)
				together.Names(pseudonym.OfPerson("person3"))
				together.Named("Last2")
				together.Hide(text, nobody, nil)
				together.Of(together.OfUser(fmt.Sprintf("user%d", i)), "")
			}
		})
	}
	wg.Wait()
	want := once.Hide(text, nobody, nil)
	for name, r := range map[string]*pseudonym.Roll{"turned around": turned, "all at once": together} {
		for _, who := range []string{"person7", "person13"} {
			got, ok := r.Resolve(r.Of(pseudonym.OfPerson(who), ""))
			if !ok || got != pseudonym.OfPerson(who) {
				t.Errorf("%s: %s resolves to %v, %v", name, who, got, ok)
			}
		}
		if got := r.Hide(text, nobody, nil); name == "turned around" && got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
}

// TestNamedWithin finds whole names in the words of a query, whatever their letters are, and nobody by a part of a name.
func TestNamedWithin(t *testing.T) {
	r := firm()
	for text, want := range map[string][]pseudonym.Identity{
		"":                                   nil,
		"from:alice@example.org":             {pseudonym.OfPerson("p-17")},
		`"alice MEYER" NEAR/3 "jörg müller"`: {pseudonym.OfPerson("p-17"), pseudonym.OfPerson("joerg")},
		"alice_chat alice@example.org p-17":  {pseudonym.OfPerson("p-17")},
		"hope":                               nil,
		"host:laptop-17 OR 10.9.8.7":         {pseudonym.OfHost("laptop-17.example.org"), pseudonym.OfAddress("10.9.8.7")},
		"malice p-170 laptop-170":            nil,
	} {
		if got := r.NamedWithin(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q names %v, want %v", text, got, want)
		}
	}
}

// TestTwoOfOneName: what two have is neither's, and does not come through either.
func TestTwoOfOneName(t *testing.T) {
	r := pseudonym.New([]byte("k"))
	r.Handle("a.smith@example.org", "Alex Smith", "p1")
	r.Handle("b.smith@example.org", "Alex Smith", "p2")
	if got := r.Hide("Alex Smith called", nobody, nil); got != "[name] called" {
		t.Errorf("became %q", got)
	}
	if got := r.Named("Alex Smith"); len(got) != 2 {
		t.Errorf("names %v", got)
	}
	// A stranger who takes the name of another does not become that other, nor the other them.
	r.Handle("mallory@evil.test", "Alice Meyer", "")
	r.Handle("alice@example.org", "Alice Meyer", "p3")
	if r.OfHandle("mallory@evil.test") == pseudonym.OfPerson("p3") || r.OfHandle("alice@example.org") != pseudonym.OfPerson("p3") {
		t.Error("a name for display made two handles one")
	}
	one := func(i pseudonym.Identity) bool { return i == pseudonym.OfPerson("p1") }
	if got := r.Hide("Alex Smith", one, nil); got != "Alex Smith" {
		t.Errorf("a name that the reader knows became %q", got)
	}
}

// TestNobody: what names nobody has no pseudonym, and asks for none.
func TestNobody(t *testing.T) {
	r := pseudonym.New([]byte("k"))
	if got := r.Of(pseudonym.OfPerson(""), "x"); got != "" || !pseudonym.OfPerson("").IsZero() || !r.OfParty(event.Party{Name: "only a name"}).IsZero() {
		t.Errorf("nobody is %q", got)
	}
	r.Handle("", "A Name", "")
	r.Handle("", "", "p9")
	r.Person("", "A Name")
	r.Host("", "", "")
	r.Event(&event.Event{})
	for _, s := range []string{"A Name", "---", "!!", "\x00", "\xff\xfe"} {
		if got := r.Hide(s, nobody, nil); got != s || len(r.Named(s)) != 0 {
			t.Errorf("%q became %q", s, got)
		}
	}
	if _, ok := r.Resolve(r.Of(pseudonym.OfPerson("p9"), "")); !ok || r.Names(pseudonym.OfPerson("nobody")) != nil {
		t.Error("a person without a handle is not known")
	}
	// Names of nothing but signs are told apart, and never looked for.
	r.Handle("***", "", "")
	r.Handle("+++", "", "")
	if r.Of(r.OfHandle("***"), "") == r.Of(r.OfHandle("+++"), "") || r.Hide("a *** b", nobody, nil) != "a *** b" {
		t.Error("handles of signs")
	}
}

// TestLongAndManyNames stay within bounds: of a name of a thousand words its beginning is found, of a thousand names of one person the first.
func TestLongAndManyNames(t *testing.T) {
	r := pseudonym.New([]byte("k"))
	long := strings.TrimSpace(strings.Repeat("word ", 1000))
	r.Handle("long@example.org", long, "p1")
	if got := r.Hide(long, nobody, nil); len(got) >= len(long) {
		t.Errorf("%d bytes of a long name became %d", len(long), len(got))
	}
	for i := range 1000 {
		r.Handle(fmt.Sprintf("alias%d@example.org", i), "", "p2")
	}
	if n := len(r.Names(pseudonym.OfPerson("p2"))); n != 32 {
		t.Errorf("%d names are kept", n)
	}
	if got := r.Hide("alias999@example.org", nobody, nil); got != r.Of(pseudonym.OfPerson("p2"), "") {
		t.Errorf("the last handle became %q", got)
	}
}
