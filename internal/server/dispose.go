package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/event"
)

// DisposeArgs are those of dispose.
type DisposeArgs struct {
	Sign
	Reason string `json:"reason"`
	Do     bool   `json:"do"` // else it only says what would be done
}

// dispose destroys what no retention class keeps any longer and no hold covers. Counsel decides, for it cannot be undone.
func (o *operations) dispose(ctx context.Context, call *control.Call, a DisposeArgs) error {
	if o.store.Keeper == nil {
		return errors.New("no compliance key is unlocked here (keys.unlock): only the role that reads disposes")
	}
	caller, err := o.caller(call, a.Sign)
	if err != nil {
		return err
	}
	if !caller.Has(control.Counsel) {
		return fmt.Errorf("dispose: %w: it needs the role counsel", control.ErrForbidden)
	}
	did, err := o.store.Keeper.Dispose(ctx, caller.Account, a.Reason, !a.Do)
	if err != nil {
		return err
	}
	return json.NewEncoder(call.Out).Encode(did)
}

// mayBeSent reports whether another command may have an event recorded: what inspect, scan and agent find, and what quarantine and agent do. Messages come
// from gateways only; holds, erasures, disposals, looks at content and changes of accounts are true only when this process made them: holds
// in force are read from such acts (law 5).
func mayBeSent(e *event.Event) bool {
	switch e.Kind {
	case event.FlowSeen, event.FindingHit, event.ProgramRun, event.MediaIn:
		return true
	case event.Gap:
		return e.Connector == "agent" // of gateways only they know
	}
	if e.Kind != event.Act || e.Act == nil {
		return false
	}
	for _, prefix := range []string{"quarantine.", "program.", "harden.", "agent."} {
		if strings.HasPrefix(e.Act.Action, prefix) && e.Phase == e.Act.Action {
			return true
		}
	}
	return false
}
