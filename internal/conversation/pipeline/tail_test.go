package pipeline

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/packs"
)

// cards is a pipeline that stops card numbers, with the shipped inspectors.
func cards(t *testing.T) (*Pipeline, *recorder) {
	t.Helper()
	set, err := packs.Build(packs.Sources{Packs: []string{"pii", "venue"}})
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	return New(Config{Connector: "office"}, Deps{Directory: &identity.People{}, Inspection: inspect.New(set.Inspectors, time.Minute), Policy: decider(blocksHits), Recorder: r}), r
}

// TestWhatIsCutIntoMessages: what is harmless in each message and not in all of them is found in the last, where nobody else has written it.
func TestWhatIsCutIntoMessages(t *testing.T) {
	for name, c := range map[string]struct {
		texts []string
		hit   string // in the last one
	}{
		"two halves":                 {[]string{"4111 1111", "1111 1111"}, "payment-card"},
		"four parts, and words":      {[]string{"here it is: 4111", "1111", "1111", "1111 thanks"}, "payment-card"},
		"digit by digit":             {strings.Split("4111111111111111", ""), "payment-card"},
		"an account":                 {[]string{"GB82 WEST 1234", "5698 7654 32"}, "iban"},
		"words":                      {[]string{"let us move this", "to WhatsApp"}, "change-of-venue"},
		"something else between":     {[]string{"4111 1111", "no wait, something else first", "1111 1111"}, ""},
		"no card number":             {[]string{"4111 1111", "1111 1112"}, ""},
		"it is in the last one only": {[]string{"hello", "4111 1111 1111 1111"}, "payment-card"},
	} {
		t.Run(name, func(t *testing.T) {
			p, r := cards(t)
			for _, text := range c.texts {
				if err := p.Judge(t.Context(), message(text)); err != nil {
					t.Fatal(err)
				}
			}
			all := r.all()
			for _, e := range all[:len(all)-1] {
				if len(e.Hits) > 0 {
					t.Errorf("%q has %+v", e.Text, e.Hits)
				}
			}
			last := all[len(all)-1]
			if c.hit == "" {
				if len(last.Hits) > 0 {
					t.Errorf("%q has %+v", last.Text, last.Hits)
				}
				return
			}
			if len(last.Hits) != 1 || last.Hits[0].Name != c.hit || last.Hits[0].Count != 1 || last.Hits[0].Earlier != (name != "it is in the last one only") || last.Hits[0].Earlier && last.Hits[0].Spans != nil {
				t.Errorf("%q has %+v", last.Text, last.Hits)
			}
			if last.Verdict.Action != event.Block {
				t.Errorf("%q: %v", last.Text, last.Verdict)
			}
		})
	}
}

// TestOnlyWhatBelongsTogether is put together: one sender, one conversation, a short time, and only what was delivered.
func TestOnlyWhatBelongsTogether(t *testing.T) {
	half := func(change func(*event.Event)) *event.Event {
		e := message("1111 1111")
		change(e)
		return e
	}
	for name, second := range map[string]*event.Event{
		"of somebody else": half(func(e *event.Event) { e.From.Handle = "carol@example.org" }),
		"to somebody else": half(func(e *event.Event) { e.To[0].Handle = "carol@example.org" }),
		"in a room":        half(func(e *event.Event) { e.Room = event.Room{Name: "desk@rooms.example.org"} }),
	} {
		p, r := cards(t)
		for _, e := range []*event.Event{message("4111 1111"), second} {
			if err := p.Judge(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if all := r.all(); len(all[1].Hits) > 0 {
			t.Errorf("%s: %+v", name, all[1].Hits)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		p, r := cards(t)
		for range 2 {
			p.Judge(context.Background(), message("4111 1111"))
			time.Sleep(tailLife + time.Second)
			p.Judge(context.Background(), message("1111 1111"))
			time.Sleep(tailLife / 2)
			p.Judge(context.Background(), message("1111 1111")) // after what was delivered, and no card: 1111 1111 1111 1111
			time.Sleep(tailLife + time.Second)
		}
		for _, e := range r.all() {
			if len(e.Hits) > 0 {
				t.Errorf("long ago: %+v", e.Hits)
			}
		}
	})
	p, r := cards(t)
	for _, text := range []string{"4111 1111", "1111 1111", "1111 1111"} { // the second was refused, so that the third is the second again
		if err := p.Judge(t.Context(), message(text)); err != nil {
			t.Fatal(err)
		}
	}
	if all := r.all(); len(all[2].Hits) != 1 {
		t.Errorf("said again: %+v", all[2].Hits)
	}
}

// TestASubjectAndItsText are read together.
func TestASubjectAndItsText(t *testing.T) {
	p, r := cards(t)
	e := message("1111 1111")
	e.Subject = "4111 1111"
	if err := p.Judge(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if hits := r.all()[0].Hits; len(hits) != 1 || hits[0].Name != "payment-card" || hits[0].Earlier {
		t.Errorf("%+v", hits)
	}
}

// TestTailsAreBounded: however many conversations there are, so many are remembered, the latest among them.
func TestTailsAreBounded(t *testing.T) {
	var all tails
	now := time.Now()
	for i := range 5 * tailCount {
		all.add(fmt.Sprint(i), strings.Repeat("é", 10*tailLength), now)
	}
	if n := len(all.now) + len(all.old); n > 2*tailCount {
		t.Errorf("%d are remembered", n)
	}
	if got := all.before(fmt.Sprint(5*tailCount-1), now); got != strings.Repeat("é", tailLength) {
		t.Errorf("of the latest %d bytes are remembered", len(got))
	}
	if got := all.before("0", now); got != "" {
		t.Error("the first is remembered too")
	}
}
