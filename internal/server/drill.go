package server

import (
	"context"
	"fmt"
	"strconv"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Acts about recovery shares, as ActDetail.Action.
const (
	ActDrill   = "keys.drill"
	ActRecover = "keys.recover"
)

// DrillArgs are those of keys.drill. Shares and keys never come here: what the administrator's command found is put on record in their name.
type DrillArgs struct {
	Action string `json:"action"` // ActDrill or ActRecover
	Key    string `json:"key"`    // id of the key that came back
	Shares int    `json:"shares"` // how many were given
	Works  bool   `json:"works"`
}

func (o *operations) keysDrill(ctx context.Context, call *control.Call, a DrillArgs) error {
	if a.Action != ActDrill && a.Action != ActRecover {
		return fmt.Errorf("%w: %q is no act about shares", control.ErrForbidden, a.Action)
	}
	works := "no"
	if a.Works {
		works = "yes"
	}
	return o.store.Recorder.Record(ctx, &event.Event{Kind: event.Act, Phase: a.Action, Connector: "control", From: event.Party{Handle: call.Caller.Account},
		Content: event.Content{Act: &event.ActDetail{Action: a.Action, Object: a.Key, Details: []event.Fact{{Name: "works", Value: works}, {Name: "shares", Value: strconv.Itoa(a.Shares)}}}}})
}
