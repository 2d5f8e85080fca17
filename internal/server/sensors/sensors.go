// Package sensors listens without standing in the way: at the interfaces of the configuration, and to the logs of other programs. What must
// be kept becomes a record, all else is observed, and what a sensor does not see is a health item and a gap on record.
package sensors

import (
	"log/slog"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// Deps is what sensors work with.
type Deps struct {
	Pair      func() *rollout.Pair // in force, and what is tried
	Policy    policy.Decider       // of logs
	Directory identity.Directory
	Recorder  event.Recorder
	Observer  event.Observer
	Board     *health.Board
	Clock     clock.Clock
	Log       *slog.Logger
}
