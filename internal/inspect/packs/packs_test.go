package packs_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/lexicon"
	"github.com/chaperone-im/chaperone/internal/inspect/packs"
	"github.com/chaperone-im/chaperone/internal/inspect/pattern"
)

func hits(set *packs.Set, text string) []string {
	var out []string
	r := inspect.New(set.Inspectors, 2*time.Minute)
	for _, h := range r.Run(context.Background(), &inspect.Item{Text: text}).Hits {
		out = append(out, h.Name)
	}
	slices.Sort(out)
	return out
}

func TestPacks(t *testing.T) {
	for _, name := range packs.Names() {
		p, err := packs.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		set, err := packs.Build(packs.Sources{Packs: []string{name}, Apps: []string{"LINE", "Wire", "XMPP clients"}})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Tests) == 0 {
			t.Errorf("pack %s has no tests", name)
		}
		for _, c := range p.Tests {
			if got := hits(set, c.Text); !slices.Equal(got, c.Hits) {
				t.Errorf("pack %s: %q: hits %v, want %v", name, c.Text, got, c.Hits)
			}
		}
	}
}

func TestBuildTogether(t *testing.T) {
	own := packs.Sources{Packs: packs.Names(), Patterns: []pattern.Pattern{{Name: "project-code", Regex: `PRJ-[0-9]{6}`}},
		Lexicons: []lexicon.Lexicon{{Name: "collusion", Words: []string{"between us"}}}}
	set, err := packs.Build(own)
	if err != nil {
		t.Fatal(err)
	}
	if got := hits(set, "between us: PRJ-123456 is paid with 4111 1111 1111 1111"); !slices.Equal(got, []string{"collusion", "payment-card", "project-code"}) {
		t.Errorf("hits %v", got)
	}
	again, _ := packs.Build(own)
	own.Patterns[0].Regex = `PRJ-[0-9]{7}`
	other, _ := packs.Build(own)
	if set.Version != again.Version || set.Version == other.Version {
		t.Errorf("versions %s %s %s", set.Version, again.Version, other.Version)
	}
	if _, err := packs.Build(packs.Sources{Packs: []string{"pi"}}); !errors.Is(err, packs.ErrUnknown) {
		t.Errorf("unknown pack: %v", err)
	}
	if _, err := packs.Build(packs.Sources{Packs: []string{"pii"}, Patterns: []pattern.Pattern{{Name: "iban", Regex: "x"}}}); err == nil {
		t.Error("a name used twice is accepted")
	}
}

func BenchmarkRun(b *testing.B) {
	set, err := packs.Build(packs.Sources{Packs: packs.Names()})
	if err != nil {
		b.Fatal(err)
	}
	r := inspect.New(set.Inspectors, 2*time.Minute)
	text := "Could you have a look at the numbers I sent this morning? I think row 14 is off by 2,300, and the client calls at 4pm. Thanks!"
	b.ReportAllocs()
	for b.Loop() {
		r.Run(context.Background(), &inspect.Item{Text: text})
	}
}
