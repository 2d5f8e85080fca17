package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/server"
)

// TestWhatAnAgentSends is recorded, and nothing that only a gateway can know.
func TestWhatAnAgentSends(t *testing.T) {
	d := newDesk(t)
	store, rules := d.open()
	defer store.Close()
	ops := server.Operations(store, rules)
	now := time.Now()
	for _, test := range []struct {
		e     event.Event
		taken bool
	}{
		{event.Event{Kind: event.ProgramRun, Content: event.Content{Program: &event.Program{Path: "/home/alice/x"}}}, true},
		{event.Event{Kind: event.MediaIn, Content: event.Content{Media: &event.Media{Device: "/dev/sdb1"}}}, true},
		{event.Event{Kind: event.Gap, Connector: "agent", Until: now}, true},
		{event.Event{Kind: event.Gap, Connector: "office", Until: now}, false},
		{event.Event{Kind: event.Act, Phase: "harden.apply", Connector: "agent", Content: event.Content{Act: &event.ActDetail{Action: "harden.apply", Object: "memfd"}}}, true},
		{event.Event{Kind: event.Act, Phase: "agent.decides", Connector: "agent", Content: event.Content{Act: &event.ActDetail{Action: "agent.decides"}}}, true},
		{event.Event{Kind: event.Message, Connector: "agent", Content: event.Content{Text: "forged"}}, false},
	} {
		test.e.ID, test.e.Time, test.e.Received = event.NewID(), now, now
		w, err := server.ToWire(&test.e)
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		err = ops.Run(context.WithoutCancel(t.Context()), "record", &control.Call{Caller: control.Caller{Account: "root", Roles: []control.Role{control.Administrator}}, Args: json.RawMessage("{}"),
			In: bytes.NewReader(line), Out: io.Discard})
		if (err == nil) != test.taken {
			t.Errorf("%s of %q: %v", test.e.Kind, test.e.Connector, err)
		}
	}
}
