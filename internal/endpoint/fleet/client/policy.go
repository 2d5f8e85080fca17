package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// File returns the policy to compile: that of the fleet, with this machine in the groups that the server put it or its person in, and with the
// approvals in force before its rules.
func (b Bundle) File() (*policy.File, error) {
	f, err := policy.Parse("policy of the fleet", b.Policy)
	if err != nil {
		return nil, err
	}
	f = f.Joined(b.Groups)
	if len(b.Approvals) == 0 {
		return f, nil
	}
	var rules []policy.Rule
	for _, a := range b.Approvals {
		rules = append(rules, ruleOf(a))
	}
	text, err := json.Marshal(b.Approvals)
	if err != nil {
		return nil, err
	}
	return f.Before(text, rules...), nil
}

func ruleOf(a protocol.Approval) policy.Rule {
	r := policy.Rule{ID: "approval-" + a.ID, Until: a.Until.UTC().Format(time.RFC3339), Verdict: "allow", Reason: a.Reason}
	switch {
	case a.App != "":
		r.Apps = policy.List{a.App}
	case a.Publisher != "":
		r.Programs.Publisher = policy.List{a.Publisher}
	default:
		r.Programs.SHA256 = policy.List{a.SHA256}
	}
	return r
}

// CheckApproval says why an approval cannot be a rule, with a hint where there is one: its messenger is in no catalog, what names its file is no
// hash. apps are the ids of the catalog.
func CheckApproval(a protocol.Approval, apps []string) error {
	f, err := policy.Parse("exception", []byte("version: 1\n"))
	if err != nil {
		return err
	}
	_, err = policy.Compile(f.Before(nil, ruleOf(a)), policy.Known{Apps: apps})
	var mistake *policy.Error
	switch {
	case !errors.As(err, &mistake):
		return err
	case mistake.Hint != "":
		return fmt.Errorf("%s; %s", mistake.Msg, mistake.Hint)
	}
	return errors.New(mistake.Msg)
}
