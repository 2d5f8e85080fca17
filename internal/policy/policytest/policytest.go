// Package policytest is the conformance suite of deciders: what each must do whatever its policy says.
package policytest

import (
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Run runs the suite.
func Run(t *testing.T, d policy.Decider) {
	for _, e := range Events() {
		t.Run(string(e.Kind), func(t *testing.T) {
			before := canonical(t, e)
			in := &policy.Input{Event: e, Now: e.Received, Final: true}
			want := d.Decide(in)
			if want.Action == event.Pending || want.Action == "" || want.Rule == "" || want.Policy == "" {
				t.Errorf("of final facts: %+v", want)
			}
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 20 {
						if got := d.Decide(in); !reflect.DeepEqual(got, want) {
							t.Errorf("the same input: %+v, then %+v", want, got)
						}
					}
				})
			}
			wg.Wait()
			if canonical(t, e) != before {
				t.Error("deciding changed the event")
			}
			if v := d.Decide(&policy.Input{Event: e, Now: e.Received}); v.Action == event.Pending && e.Kind != event.FlowSeen {
				t.Error("pending, though nothing more can come")
			}
		})
	}
}

func canonical(t *testing.T, e *event.Event) string {
	t.Helper()
	_, content, err := e.Split(make([]byte, event.SaltSize))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// Events returns one event of each kind that is decided, and some that are not; also with their details missing.
func Events() []*event.Event {
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	alice, bob := event.Party{Handle: "alice@example.org", Person: "alice", Groups: []string{"sales"}}, event.Party{Handle: "bob@other.org"}
	hit := event.Hit{Inspector: "pattern", Name: "payment-card", Count: 1, Confidence: event.High, Spans: []event.Span{{Start: 0, End: 19}}}
	out := []*event.Event{
		{Kind: event.Message, Content: event.Content{Text: "4111 1111 1111 1111", Hits: []event.Hit{hit}, Audience: []event.Party{alice, bob}}},
		{Kind: event.FileUpload, Content: event.Content{Files: []event.File{{Name: "a.zip"}}, NotChecked: []event.NotInspected{{Inspector: "malware", Reason: event.ReasonTimeout}}}},
		{Kind: event.FlowSeen, Content: event.Content{Flow: &event.Flow{Proto: "tcp", Client: "10.0.0.1:5", Server: "192.0.2.1:443"}}},
		{Kind: event.DNSQuery, Content: event.Content{Question: &event.Question{Name: "web.whatsapp.com", App: "whatsapp", Client: "10.0.0.1"}}},
		{Kind: event.WebRequest, Content: event.Content{Web: &event.Web{Method: "GET", URL: "https://web.whatsapp.com/"}}},
		{Kind: event.ProgramRun, Content: event.Content{Program: &event.Program{App: "signal", Path: "/x"}}},
		{Kind: event.FlowSeen}, {Kind: event.DNSQuery}, {Kind: event.WebRequest}, {Kind: event.FindingHit}, {Kind: event.MediaIn},
	}
	for _, k := range []event.Kind{event.Edit, event.Retraction, event.Reaction, event.Join, event.Leave, event.RoomChange, event.Call, event.Delivery, event.Act, event.Gap} {
		out = append(out, &event.Event{Kind: k})
	}
	for _, e := range out {
		e.Time, e.Received, e.From, e.To = now, now, alice, []event.Party{bob}
	}
	return out
}
