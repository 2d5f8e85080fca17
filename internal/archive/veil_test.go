package archive_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
)

// identifiers are the names that must not come through.
var identifiers = []string{"alice.meyer", "alice meyer", "alice@example.org", "laptop-meyer-17", "10.9.8.7", "mallory@evil.test", "bob"}

const saysAll = "ask Alice Meyer or <ALICE@example.org> (alice.meyer) or Bob at laptop-meyer-17 / 10.9.8.7, not mallory@evil.test"

func newRoll() *pseudonym.Roll {
	r := pseudonym.New([]byte("key of the tests"))
	r.Handle("alice@example.org", "Alice Meyer", "alice.meyer")
	r.Handle("bob@example.org", "", "bob")
	r.Handle("mallory@evil.test", "", "")
	r.Host("laptop-meyer-17", "10.9.8.7", "alice.meyer")
	return r
}

// asIs is what the veil leaves as it is: random ids, digests and words of fixed lists, which say nothing, and rooms, which keep their names. Add
// to it only what nobody can be called by.
var asIs = map[string][]string{
	"event.Event":          {"ID", "Kind", "Phase", "Connector", "Source", "Room", "Refers", "Reason"},
	"event.Party":          {"ID"},
	"event.Host":           {"ID"},
	"event.Verdict":        {"Action", "Policy"},
	"event.Obligation":     {"Kind"},
	"event.File":           {"Type", "SHA256", "Object", "Sealed"},
	"event.Flow":           {"Proto", "App", "Service", "JA4", "ALPN"},
	"event.Question":       {"Type", "App"},
	"event.Web":            {"Method", "App"},
	"event.Program":        {"App", "Form", "Format", "Version", "SHA256", "Media"},
	"event.CallDetail":     {"Media"},
	"event.ActDetail":      {"Action"},
	"event.Hit":            {"Inspector", "Version"},
	"event.NotInspected":   {"Inspector", "Reason", "Version"},
	"archive.Record":       {"Action", "Position"},
	"archive.Conversation": {"ID", "Connector", "Room"},
	"archive.Handle":       {"ID", "Connector"},
	"archive.Host":         {"ID"},
	"archive.Sighting":     {"App", "Action"},
}

// fill puts a text that names everybody into every string there is, but those that stay as they are.
func fill(x reflect.Value, n *int) {
	switch x.Kind() {
	case reflect.String:
		*n++
		x.SetString(fmt.Sprintf("no%d %s", *n, saysAll))
	case reflect.Pointer:
		x.Set(reflect.New(x.Type().Elem()))
		fill(x.Elem(), n)
	case reflect.Slice:
		x.Set(reflect.MakeSlice(x.Type(), 2, 2))
		if x.Type().Elem().Kind() == reflect.Uint8 {
			x.SetBytes([]byte(saysAll))
			return
		}
		fill(x.Index(0), n)
		fill(x.Index(1), n)
	case reflect.Struct:
		for i := range x.NumField() {
			f := x.Type().Field(i)
			if f.IsExported() && x.Type() != reflect.TypeFor[time.Time]() && !slices.Contains(asIs[x.Type().String()], f.Name) {
				fill(x.Field(i), n)
			}
		}
	}
}

func filled[T any]() T {
	var out T
	n := 0
	fill(reflect.ValueOf(&out).Elem(), &n)
	return out
}

func (f full) Observed(context.Context, archive.ObservedFilter, string) iter.Seq2[archive.SelectedObservation, error] {
	return func(yield func(archive.SelectedObservation, error) bool) {
		yield(archive.SelectedObservation{Observed: archive.Observed{Event: f.record().Event}}, nil)
	}
}

func (full) Hours(context.Context, time.Time, time.Time) ([]archive.HourCount, error) {
	return nil, nil
}

// full is a driver in which every string names everybody.
type full struct{}

func (full) record() archive.Record {
	r := filled[archive.Record]()
	r.Event.Kind, r.Event.ID = event.Message, "m"
	r.Event.From = event.Party{ID: "h-1", Handle: "alice@example.org", Person: "alice.meyer", Name: "Alice Meyer"}
	return r
}

func (f full) Record(context.Context, event.ID) (archive.Record, error) { return f.record(), nil }

func (f full) Referring(context.Context, event.ID) ([]archive.Record, error) {
	var out []archive.Record
	for _, k := range []event.Kind{event.Edit, event.Reaction, event.Delivery, event.VerdictSet} {
		r := f.record()
		r.Event.Kind = k
		out = append(out, r)
	}
	return out, nil
}

func (f full) Select(context.Context, archive.Filter, string) iter.Seq2[archive.Selected, error] {
	return func(yield func(archive.Selected, error) bool) { yield(archive.Selected{Record: f.record()}, nil) }
}

func (full) Conversations(context.Context, string, archive.Page) (archive.Part[archive.Conversation], error) {
	return archive.Part[archive.Conversation]{Items: filled[[]archive.Conversation](), Next: "10.1"}, nil
}

func (full) Conversation(context.Context, string) (archive.Conversation, error) {
	return filled[archive.Conversation](), nil
}

func (full) Handles(context.Context, string) ([]archive.Handle, error) {
	return append(filled[[]archive.Handle](), archive.Handle{ID: "h-1", Handle: "alice@example.org", Person: "alice.meyer", Name: "Alice Meyer"},
		archive.Handle{ID: "h-2", Handle: "mallory@evil.test"}), nil
}

func (full) Hosts(context.Context, string) ([]archive.Host, error) {
	return append(filled[[]archive.Host](), archive.Host{ID: "m-1", Name: "laptop-meyer-17", Address: "10.9.8.7", Person: "alice.meyer"}), nil
}

func (full) Sightings(context.Context, archive.SightingFilter) ([]archive.Sighting, error) {
	return filled[[]archive.Sighting](), nil
}

func behindVeil(t *testing.T, d archive.Driver, acts event.Recorder) (*archive.View, *pseudonym.Roll) {
	t.Helper()
	roll := newRoll()
	v, err := archive.New(d, acts, clock.System{}).WithPseudonyms(roll, true).Open(t.Context(), archive.Account{Name: "rita", Reads: true}, "case 7")
	if err != nil {
		t.Fatal(err)
	}
	return v, roll
}

// everything is what each method of a view gives.
func everything(t *testing.T, v *archive.View) map[string]any {
	t.Helper()
	ctx := t.Context()
	out := map[string]any{}
	put := func(name string, got any, err error) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		out[name] = got
	}
	a, err := v.Conversations(ctx, "", archive.Page{})
	put("conversations", a, err)
	b, err := v.Conversation(ctx, "c")
	put("conversation", b, err)
	c, err := v.Messages(ctx, "c", archive.Page{})
	put("messages", c, err)
	d, err := v.Message(ctx, "m")
	put("message", d, err)
	e, err := v.Record(ctx, "m")
	put("record", e, err)
	f, err := v.Events(ctx, archive.Filter{}, archive.Page{})
	put("events", f, err)
	g, err := v.Acts(ctx, archive.Page{})
	put("acts", g, err)
	h, err := v.Timeline(ctx, "h-1", archive.Filter{}, archive.Page{})
	put("timeline", h, err)
	i, err := v.Person(ctx, "h-1")
	put("person", i, err)
	j, err := v.People(ctx)
	put("people", j, err)
	k, err := v.Hosts(ctx, "")
	put("hosts", k, err)
	l, err := v.Sightings(ctx, archive.SightingFilter{})
	put("sightings", l, err)
	m, err := v.Observations(ctx, archive.ObservedFilter{}, archive.Page{})
	put("observations", m, err)
	return out
}

func named(t *testing.T, what any) []string {
	t.Helper()
	text, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range identifiers {
		if strings.Contains(strings.ToLower(string(text)), i) {
			out = append(out, i)
		}
	}
	return out
}

// TestNobodyIsNamedUnderTheVeil: whatever field of an event, a person, a host or a conversation holds a name that is known, it does not come
// out of a view that veils, nor do original bytes. A field that is added to an event is part of this test at once.
func TestNobodyIsNamedUnderTheVeil(t *testing.T) {
	v, _ := behindVeil(t, archive.Driver{Records: full{}, Catalogue: full{}, Observations: full{}}, &recorder{})
	all := everything(t, v)
	for name, got := range all {
		if found := named(t, got); len(found) > 0 {
			t.Errorf("%s names %q: %.3000s", name, found, must(json.Marshal(got)))
		}
	}
	r := all["record"].(archive.Record)
	if r.Event.Raw != nil || r.Event.Files[0].Key != nil {
		t.Error("original bytes or keys are shown")
	}
	if p := r.Event.From.Person; !pseudonym.Is(p) || r.Event.From.Handle != p || r.Event.From.Name != "" || r.Event.From.ID != "h-1" {
		t.Errorf("from is %+v", r.Event.From)
	}
	if got := named(t, full{}.record()); len(got) != len(identifiers) {
		t.Errorf("the stored record names only %q", got)
	}
}

func must[T any](v T, _ error) T { return v }

// TestNamingDisclosesTheNamed and nobody else, in whatever question, once, on record first; a pseudonym discloses nobody.
func TestNamingDisclosesTheNamed(t *testing.T) {
	ask := map[string]func(context.Context, *archive.View, string) error{
		"person": func(ctx context.Context, v *archive.View, who string) error { _, err := v.Person(ctx, who); return err },
		"conversations": func(ctx context.Context, v *archive.View, who string) error {
			_, err := v.Conversations(ctx, who, archive.Page{})
			return err
		},
		"timeline": func(ctx context.Context, v *archive.View, who string) error {
			_, err := v.Timeline(ctx, who, archive.Filter{}, archive.Page{})
			return err
		},
		"hosts": func(ctx context.Context, v *archive.View, who string) error { _, err := v.Hosts(ctx, who); return err },
		"events": func(ctx context.Context, v *archive.View, who string) error {
			_, err := v.Events(ctx, archive.Filter{Who: []string{who}}, archive.Page{})
			return err
		},
		"sightings": func(ctx context.Context, v *archive.View, who string) error {
			_, err := v.Sightings(ctx, archive.SightingFilter{Person: who})
			return err
		},
	}
	for name, f := range ask {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			v, roll := behindVeil(t, archive.Driver{Records: full{}, Catalogue: full{}}, r)
			p := roll.Of(pseudonym.OfPerson("alice.meyer"), "")
			if err := f(t.Context(), v, strings.ToLower(p)); err != nil {
				t.Fatal(err)
			}
			if got := disclosures(r); len(got) != 0 || len(named(t, must(v.Record(t.Context(), "m")))) > 0 {
				t.Errorf("a pseudonym disclosed %v", got)
			}
			for range 2 {
				if err := f(t.Context(), v, "Alice@Example.org"); err != nil {
					t.Fatal(err)
				}
			}
			if got := disclosures(r); len(got) != 1 || got[0].Object != p || got[0].Purpose != "case 7" || got[0].Details[0] != (event.Fact{Name: "person", Value: "alice.meyer"}) {
				t.Errorf("naming her disclosed %+v", got)
			}
			rec := must(v.Record(t.Context(), "m"))
			if rec.Event.From.Name != "Alice Meyer" || rec.Event.From.Handle != "alice@example.org" {
				t.Errorf("her name is still hidden: %+v", rec.Event.From)
			}
			if got := named(t, rec); slices.Contains(got, "bob") || slices.Contains(got, "mallory@evil.test") || slices.Contains(got, "10.9.8.7") {
				t.Errorf("others were disclosed with her: %q", got)
			}
			other, _ := behindVeil(t, archive.Driver{Records: full{}, Catalogue: full{}}, r)
			if got := named(t, must(other.Record(t.Context(), "m"))); len(got) > 0 {
				t.Errorf("another view knows %q", got)
			}
		})
	}
}

func disclosures(r *recorder) []*event.ActDetail {
	var out []*event.ActDetail
	for _, e := range r.acts {
		if e.Act.Action == archive.ActDisclose {
			out = append(out, e.Act)
		}
	}
	return out
}

func TestDisclose(t *testing.T) {
	r := &recorder{}
	v, roll := behindVeil(t, archive.Driver{Records: full{}, Catalogue: full{}}, r)
	p := roll.Of(pseudonym.OfPerson("bob"), "")
	got, err := v.Disclose(t.Context(), p, "complaint 3")
	if err != nil || got.Pseudonym != p || got.Kind != pseudonym.Person || got.Names[0] != "bob" {
		t.Errorf("%+v, %v", got, err)
	}
	if acts := disclosures(r); len(acts) != 1 || acts[0].Purpose != "complaint 3" {
		t.Errorf("acts %+v", acts)
	}
	if v.Text("bob") != "bob" {
		t.Error("he is still hidden")
	}
	if _, err := v.Disclose(t.Context(), "person-0000-0000", ""); err == nil {
		t.Error("nobody was disclosed")
	}
	r.err = context.DeadlineExceeded
	if _, err := v.Disclose(t.Context(), roll.Of(pseudonym.OfPerson("alice.meyer"), ""), ""); err == nil || v.Text("alice.meyer") == "alice.meyer" {
		t.Errorf("a disclosure that could not be recorded gave %v", err)
	}
	plain, err := archive.New(archive.Driver{}, r, clock.System{}).Open(t.Context(), archive.Account{Name: "rita", Reads: true}, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Disclose(t.Context(), p, ""); err == nil || plain.Text("bob") != "bob" || plain.Veils() {
		t.Errorf("without a roll: %v", err)
	}
}

// TestActsNameWhoActed: who looks answers for it by name, and what they looked at is veiled.
func TestActsNameWhoActed(t *testing.T) {
	v, _ := behindVeil(t, archive.Driver{Records: full{}, Catalogue: full{}}, &recorder{})
	got := v.Veil(archive.Record{Event: &event.Event{Kind: event.Act, From: event.Party{Handle: "bob"},
		Content: event.Content{Act: &event.ActDetail{Action: archive.ActRead, Object: "person alice.meyer"}}}})
	if got.Event.From.Handle != "bob" || strings.Contains(got.Event.Act.Object, "alice") {
		t.Errorf("%+v %+v", got.Event.From, got.Event.Act)
	}
}

// TestSpansOfAnotherTextAreLeftOut: a hit's place in the text is not its place in what is shown.
func TestSpansOfAnotherTextAreLeftOut(t *testing.T) {
	v, _ := behindVeil(t, archive.Driver{}, &recorder{})
	for text, want := range map[string]int{"hello there": 1, "hello bob": 0} {
		stored := archive.Record{Event: &event.Event{Kind: event.Message, Content: event.Content{Text: text, Hits: []event.Hit{{Name: "x", Spans: []event.Span{{Start: 0, End: 5}}}}}}}
		if got := v.Veil(stored); len(got.Event.Hits[0].Spans) != want || len(stored.Event.Hits[0].Spans) != 1 {
			t.Errorf("%q: %+v, stored %+v", text, got.Event.Hits, stored.Event.Hits)
		}
	}
}

// TestEnrolled: a projection that is told of a record tells the roll, before anybody can read it.
func TestEnrolled(t *testing.T) {
	roll := pseudonym.New([]byte("k"))
	p := archive.Enrolled(refusing{}, roll)
	p.Apply(t.Context(), []archive.Entry{{}, {Event: &event.Event{Kind: event.Message, From: event.Party{Handle: "carol@example.org", Person: "carol"}}}})
	if got := roll.Named("carol@example.org"); len(got) != 1 || got[0] != pseudonym.OfPerson("carol") {
		t.Errorf("the roll knows %v", got)
	}
	a := archive.New(archive.Driver{Catalogue: full{}}, &recorder{}, clock.System{})
	if err := a.Enrol(t.Context(), roll); err != nil || len(roll.Named("laptop-meyer-17")) != 1 {
		t.Errorf("the catalogue was not taken over: %v", err)
	}
}

type refusing struct{ archive.Projection }

func (refusing) Apply(context.Context, []archive.Entry) error { return context.Canceled }

// BenchmarkVeil is a page of 50 messages in a firm of 10,000.
func BenchmarkVeil(b *testing.B) {
	roll := newRoll()
	for i := range 10_000 {
		roll.Handle(fmt.Sprintf("first%d.last%d@example.org", i, i), fmt.Sprintf("First%d Last%d", i, i), fmt.Sprintf("p%05d", i))
		roll.Host(fmt.Sprintf("laptop-%d", i), fmt.Sprintf("10.%d.%d.%d", i/65536, i/256%256, i%256), fmt.Sprintf("p%05d", i))
	}
	v, err := archive.New(archive.Driver{}, &recorder{}, clock.System{}).WithPseudonyms(roll, true).Open(b.Context(), archive.Account{Name: "rita", Reads: true}, "x")
	if err != nil {
		b.Fatal(err)
	}
	page := make([]archive.Record, 50)
	for i := range page {
		who := func(n int) event.Party {
			return event.Party{ID: "h", Handle: fmt.Sprintf("first%d.last%d@example.org", n, n), Name: fmt.Sprintf("First%d Last%d", n, n), Person: fmt.Sprintf("p%05d", n)}
		}
		page[i].Event = &event.Event{Kind: event.Message, From: who(i), To: []event.Party{who(i + 1)}, Content: event.Content{Audience: []event.Party{who(i + 1)},
			Text: strings.Repeat("please call First77 Last77 about the numbers of yesterday, before ten. ", 5)}}
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range page {
			v.Veil(r)
		}
	}
}
