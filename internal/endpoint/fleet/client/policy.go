package client

import (
	"encoding/json"
	"time"

	"github.com/chaperone-im/chaperone/internal/policy"
)

// File returns the policy to compile: that of the fleet, with the approvals in force before its rules.
func (b Bundle) File() (*policy.File, error) {
	f, err := policy.Parse("policy of the fleet", b.Policy)
	if err != nil || len(b.Approvals) == 0 {
		return f, err
	}
	var rules []policy.Rule
	for _, a := range b.Approvals {
		r := policy.Rule{ID: "approval-" + a.ID, Until: a.Until.UTC().Format(time.RFC3339), Verdict: "allow", Reason: a.Reason}
		switch {
		case a.App != "":
			r.Apps = policy.List{a.App}
		case a.Publisher != "":
			r.Programs.Publisher = policy.List{a.Publisher}
		default:
			r.Programs.SHA256 = policy.List{a.SHA256}
		}
		rules = append(rules, r)
	}
	text, err := json.Marshal(b.Approvals)
	if err != nil {
		return nil, err
	}
	return f.Before(text, rules...), nil
}
