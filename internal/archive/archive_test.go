package archive_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
)

// recorder keeps acts, or refuses them.
type recorder struct {
	acts []*event.Event
	err  error
}

func (r *recorder) Record(_ context.Context, events ...*event.Event) error {
	if r.err == nil {
		r.acts = append(r.acts, events...)
	}
	return r.err
}

// watched is a driver that fails the test when content is asked of it before the act is on record.
type watched struct {
	t *testing.T
	r *recorder
}

func (w watched) check() {
	w.t.Helper()
	if len(w.r.acts) == 0 {
		w.t.Error("content was read before the look was on record")
	}
}

func (w watched) Record(context.Context, event.ID) (archive.Record, error) {
	w.check()
	return archive.Record{Event: &event.Event{}}, nil
}
func (w watched) Referring(context.Context, event.ID) ([]archive.Record, error) {
	w.check()
	return nil, nil
}
func (w watched) Select(context.Context, archive.Filter, string) iter.Seq2[archive.Selected, error] {
	w.check()
	return func(func(archive.Selected, error) bool) {}
}
func (w watched) Conversations(context.Context, string, archive.Page) (archive.Part[archive.Conversation], error) {
	w.check()
	return archive.Part[archive.Conversation]{}, nil
}
func (w watched) Conversation(context.Context, string) (archive.Conversation, error) {
	w.check()
	return archive.Conversation{}, nil
}
func (w watched) Handles(context.Context, string) ([]archive.Handle, error) {
	w.check()
	return []archive.Handle{{Handle: "a"}}, nil
}
func (w watched) Hosts(context.Context, string) ([]archive.Host, error) { w.check(); return nil, nil }
func (w watched) Sightings(context.Context, archive.SightingFilter) ([]archive.Sighting, error) {
	w.check()
	return nil, nil
}

// reads are all the doors to content.
func reads(ctx context.Context, v *archive.View) map[string]func() error {
	return map[string]func() error{
		"conversations": func() error { _, err := v.Conversations(ctx, "", archive.Page{}); return err },
		"conversation":  func() error { _, err := v.Conversation(ctx, "c"); return err },
		"messages":      func() error { _, err := v.Messages(ctx, "c", archive.Page{}); return err },
		"message":       func() error { _, err := v.Message(ctx, "m"); return err },
		"record":        func() error { _, err := v.Record(ctx, "m"); return err },
		"events":        func() error { _, err := v.Events(ctx, archive.Filter{Apps: []string{"x"}}, archive.Page{}); return err },
		"acts":          func() error { _, err := v.Acts(ctx, archive.Page{}); return err },
		"timeline":      func() error { _, err := v.Timeline(ctx, "a", archive.Filter{}, archive.Page{}); return err },
		"person":        func() error { _, err := v.Person(ctx, "a"); return err },
		"people":        func() error { _, err := v.People(ctx); return err },
		"hosts":         func() error { _, err := v.Hosts(ctx, ""); return err },
		"sightings":     func() error { _, err := v.Sightings(ctx, archive.SightingFilter{}); return err },
	}
}

func view(t *testing.T, r *recorder) *archive.View {
	t.Helper()
	w := watched{t, r}
	a := archive.New(archive.Driver{Records: w, Catalogue: w}, r, clock.System{})
	v, err := a.Open(t.Context(), archive.Account{Name: "rita", Reads: true}, "case 7")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestEveryLookIsOnRecordFirst is law 6: no content comes out of a View before the act that says who looked at what, and why, is durable.
func TestEveryLookIsOnRecordFirst(t *testing.T) {
	for name := range reads(context.Background(), nil) {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			v := view(t, r)
			for range 2 {
				if err := reads(t.Context(), v)[name](); err != nil {
					t.Fatal(err)
				}
			}
			if len(r.acts) != 1 {
				t.Fatalf("%d acts for one look, want 1", len(r.acts))
			}
			act := r.acts[0]
			if act.Kind != event.Act || act.Act.Action != archive.ActRead || act.Act.Purpose != "case 7" || act.From.Handle != "rita" || act.Act.Object == "" {
				t.Errorf("act is %+v %+v", act, act.Act)
			}
		})
		t.Run(name+" refused", func(t *testing.T) {
			down := errors.New("disk full")
			r := &recorder{err: down}
			if err := reads(t.Context(), view(t, r))[name](); !errors.Is(err, down) {
				t.Errorf("a look that could not be recorded gave %v", err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	a := archive.New(archive.Driver{}, &recorder{}, clock.System{})
	for _, c := range []struct {
		name    string
		who     archive.Account
		purpose string
		want    error
	}{
		{"administrator", archive.Account{Name: "root"}, "because", archive.ErrNotReader},
		{"nobody", archive.Account{Reads: true}, "because", archive.ErrNotReader},
		{"no purpose", archive.Account{Name: "rita", Reads: true}, " \n", archive.ErrNoPurpose},
		{"endless purpose", archive.Account{Name: "rita", Reads: true}, strings.Repeat("x", 2000), nil},
	} {
		if _, err := a.Open(t.Context(), c.who, c.purpose); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestPageSize(t *testing.T) {
	for limit, want := range map[int]int{-1: 50, 0: 50, 7: 7, 1 << 40: 1000} {
		if got := (archive.Page{Limit: limit}).Size(); got != want {
			t.Errorf("limit %d gives %d, want %d", limit, got, want)
		}
	}
}

func TestCaptureAddsUp(t *testing.T) {
	c := archive.Capture{Stored: 3, Excluded: map[string]int{"duplicate": 2}, Quarantined: map[string]int{"late": 1, "oversize": 1}}
	if c.Seen() != 7 {
		t.Errorf("seen %d", c.Seen())
	}
}
