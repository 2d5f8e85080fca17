// Package doctor examines a machine and a configuration before, and while, Chaperone runs there. Each finding says what was found, why it
// matters and what to do. It changes nothing, and asks only what the configuration names.
package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/chaperone-im/chaperone/internal/config"
)

// State is how a finding is.
type State string

// The states. Warn works and should be seen to; Fail does not work, or must not stay so.
const (
	OK   State = "ok"
	Warn State = "warn"
	Fail State = "fail"
)

// Finding is one thing that was looked at.
type Finding struct {
	Check string `json:"check"`
	State State  `json:"state"`
	What  string `json:"what"`
	Why   string `json:"why,omitempty"`
	Do    string `json:"do,omitempty"`
}

// Options are what the checks need besides the configuration.
type Options struct {
	// Sandbox says what of the confinement of parsers is not in force here, "" when all is.
	Sandbox func(ctx context.Context) (string, error)
	// Now is the time, that of the machine when nil.
	Now func() time.Time
}

// patience bounds each check.
const patience = 20 * time.Second

// exam is one examination.
type exam struct {
	c     *config.Config
	o     Options
	check string
	out   []Finding
}

func (x *exam) add(s State, what, why, do string) {
	x.out = append(x.out, Finding{Check: x.check, State: s, What: what, Why: why, Do: do})
}

func (x *exam) ok(format string, args ...any) { x.add(OK, fmt.Sprintf(format, args...), "", "") }

// check is one thing to look at.
type check struct {
	name string
	run  func(ctx context.Context, x *exam)
}

// checks is the explicit list of what is looked at, in this order. A machine of a fleet keeps no record, serves nothing, and has its policy from the
// server.
func checks(member bool) []check {
	if member {
		return []check{{"disk", disk}, {"clock", clockSync}, {"sandbox", confinement}, {"execution control", execution}}
	}
	return []check{
		{"configuration", configuration},
		{"data", data},
		{"disk", disk},
		{"clock", clockSync},
		{"keys", keyFiles},
		{"secrets", secrets},
		{"state", stateFiles},
		{"recovery", recovery},
		{"checkpoints", checkpoints},
		{"journal", journalState},
		{"record", record},
		{"ports", ports},
		{"certificates", certificates},
		{"gateways", gateways},
		{"malware", clamd},
		{"resolver", resolver},
		{"network", network},
		{"sandbox", confinement},
		{"execution control", execution},
	}
}

// Examine runs every check.
func Examine(ctx context.Context, c *config.Config, o Options) []Finding {
	if o.Now == nil {
		o.Now = time.Now
	}
	x := &exam{c: c, o: o}
	for _, check := range checks(c.Agent.Server != "") {
		x.check = check.name
		bounded, cancel := context.WithTimeout(ctx, patience)
		check.run(bounded, x)
		cancel()
	}
	return x.out
}

// Worst returns the worst state of findings.
func Worst(found []Finding) State {
	worst := OK
	for _, f := range found {
		if f.State == Fail || f.State == Warn && worst == OK {
			worst = f.State
		}
	}
	return worst
}
