package agent_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/inflight"
	"github.com/chaperone-im/chaperone/internal/event"
)

// memory returns a memory as a holder makes it, and another view of it.
func memory(t *testing.T) (*inflight.Memory, *inflight.Memory) {
	t.Helper()
	f, err := inflight.Create()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	var views [2]*inflight.Memory
	for i := range views {
		if views[i], err = inflight.Map(int(f.Fd())); err != nil {
			t.Fatal(err)
		}
	}
	return views[0], views[1]
}

// TestWhatAnEarlierWorkerLeft is reported, with what was lost and what the holder refused by itself. What is no report of a start is not believed.
func TestWhatAnEarlierWorkerLeft(t *testing.T) {
	ours, holders := memory(t)
	now := time.Now()
	left := &event.Event{ID: event.NewID(), Kind: event.ProgramRun, Time: now, Received: now, Connector: "agent", Content: event.Content{Program: &event.Program{Path: "/left"}}}
	text, err := json.Marshal(left)
	if err != nil {
		t.Fatal(err)
	}
	holders.Put(text)
	holders.Put([]byte(`{"kind":"act","act":{"action":"harden.undo"}}`))
	holders.Put([]byte("nonsense"))
	holders.Late(7)
	d := newDesk(t, agent.Options{Load: load(blocking), Memory: ours})
	if e := d.records.await(t, "left event", func(e *event.Event) bool { return e.Program != nil && e.Program.Path == "/left" }); e.ID != left.ID {
		t.Errorf("%s became %s", left.ID, e.ID)
	}
	for _, words := range []string{"7 starts were refused since no worker answered", "at most 2 refusals were lost"} {
		d.records.await(t, words, func(e *event.Event) bool { return e.Kind == event.Gap && strings.Contains(e.Explanation, words) })
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		if events, _, _ := holders.Left(); len(events) == 0 {
			return
		} else if time.Now().After(end) {
			t.Fatalf("%d events still have their place", len(events))
		}
	}
}
