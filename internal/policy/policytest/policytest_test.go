package policytest_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/policy/policytest"
)

// stopAll is the smallest decider.
type stopAll struct{}

func (stopAll) Decide(*policy.Input) event.Verdict {
	return event.Verdict{Action: event.Block, Rule: "all", Policy: "0"}
}

func TestSmallestDecider(t *testing.T) { policytest.Run(t, stopAll{}) }

func TestPolicyAndHolder(t *testing.T) {
	text, err := policy.Quickstart("us-broker-dealer", "example.org")
	if err != nil {
		t.Fatal(err)
	}
	f, err := policy.Parse("p", text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(f, policy.Known{Hits: []string{"payment-card", "change-of-venue", "private-key", "access-key", "disguised-file", "executable-file"}})
	if err != nil {
		t.Fatal(err)
	}
	policytest.Run(t, p)
	policytest.Run(t, policy.NewHolder(p))
}
