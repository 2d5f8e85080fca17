package policy

import (
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Input is all that a verdict may depend on (law 2). Everything else a rule needs must be put here, and is kept with the record.
type Input struct {
	Event     *event.Event // with hits and not-inspected marks in its Content, people and groups in its parties, the app match in Flow, Question, Web or Program
	Now       time.Time    // gateway time, for hours and until
	Final     bool         // the recogniser or connector will tell no more: what is pending does not match
	LeavesOrg bool         // filled by Decide's caller from Policy.LeavesOrg, or by Decide when the audience is in the event
}

// Decider answers an input with a verdict. It is pure, never blocks and is safe for concurrent use.
type Decider interface {
	Decide(in *Input) event.Verdict
}
