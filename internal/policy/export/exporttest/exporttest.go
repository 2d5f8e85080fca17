// Package exporttest makes the plans that the tests of the formats write.
package exporttest

import (
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/policy/export"
)

// Policy is a policy that allows Slack and one file, stops another file, sticks and all other messengers.
const Policy = `
version: 1
rules:
  - {id: fine, programs: {sha256: ["` + Allowed + `"]}, verdict: allow}
  - {id: bad, programs: {sha256: ["` + Denied + `"]}, verdict: block, say: "Known to be bad."}
  - {id: sticks, programs: {media: removable}, verdict: block}
  - {id: chat, apps: [slack], verdict: allow}
  - {id: none, apps: ["*"], verdict: block, say: "Use the firm's chat."}
`

// The files that Policy names.
const (
	Allowed = "1111111111111111111111111111111111111111111111111111111111111111"
	Denied  = "2222222222222222222222222222222222222222222222222222222222222222"
)

// ProfileURL is where the profile of a plan is served, where the test says nothing else.
const ProfileURL = "https://mdm.example.org/firm.mobileconfig"

// Plan makes the plan of a policy for the built-in catalog.
func Plan(t testing.TB, text string, o export.Options) *export.Plan {
	t.Helper()
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	f, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var known policy.Known
	for _, a := range c.Apps() {
		known.Apps = append(known.Apps, a.ID)
	}
	p, err := policy.Compile(f, known)
	if err != nil {
		t.Fatal(err)
	}
	if o.ProfileURL == "" {
		o.ProfileURL = ProfileURL
	}
	o.Now = time.Date(2026, 11, 25, 12, 30, 0, 0, time.UTC)
	return export.Make(p, c, o)
}
