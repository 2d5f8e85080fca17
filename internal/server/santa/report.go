package santa

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/logs"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/policy"
)

const (
	connectorName = "santa"
	aheadMost     = 5 * time.Minute // that a machine's clock may be ahead
	maxKept       = 16 << 10        // of something that could not be decoded
)

// decided reads a decision of the protocol. BUNDLE_BINARY is none: it tells of no execution, and is not asked for.
func decided(decision string) (blocked, known bool) {
	for _, why := range []string{"UNKNOWN", "BINARY", "CERTIFICATE", "SCOPE", "TEAMID", "SIGNINGID", "CDHASH"} {
		switch decision {
		case "BLOCK_" + why:
			return true, true
		case "ALLOW_" + why:
			return false, true
		}
	}
	return false, false
}

// report is an event and what becomes of it.
type report struct {
	event  *event.Event
	record bool // else it is an observation
}

// upload is what a machine reports at once, and what it is decided by.
type upload struct {
	machine *machine
	host    event.Host
	policy  *policy.Policy
	catalog *catalog.Catalog
}

// reportOf makes an event of what a machine says of an execution; ok is false for what is none. The machine, its person and the id are what
// we know, not what it says. What cannot be decoded becomes a record of just that (law 3).
func (s *Server) reportOf(u *upload, body json.RawMessage) (r report, ok bool) {
	m, host := u.machine, u.host
	var x execution
	if err := json.Unmarshal(body, &x); err != nil {
		return report{s.undecodable(m, host, body, err), true}, true
	}
	if x.Decision == "BUNDLE_BINARY" {
		return report{}, false
	}
	blocked, known := decided(x.Decision)
	if sum, err := hex.DecodeString(x.SHA256); !known || err != nil || len(sum) != 32 {
		return report{s.undecodable(m, host, body, fmt.Errorf("decision %.40q of a file of SHA-256 %.80q", x.Decision, x.SHA256)), true}, true
	}
	now := s.deps.Clock.Now()
	e := &event.Event{Kind: event.ProgramRun, Time: timeOf(float64(x.Time), now), Received: now, Connector: connectorName, Host: host}
	native := fmt.Sprintf("%s %s %s %.6f %d", x.SHA256, x.Path, x.Name, float64(x.Time), int64(x.PID))
	e.ID = event.ImportID(s.eventKey, "santa "+strings.ToLower(m.ID), native, x.Decision)
	if user := clip(x.User); user != "" {
		e.From = event.Party{Handle: user + "@" + host.Name, Name: user, Person: host.Person, Groups: identity.GroupsOf(s.deps.Directory, host.Person)}
	}
	e.Program = &event.Program{Path: clip(path.Join(x.Path, x.Name)), Format: "macho", Version: clip(x.Version), Publisher: clip(publisherOf(&x)), SHA256: strings.ToLower(x.SHA256)}
	e.Evidence = identify(u.catalog, &x, e.Program)
	if blocked {
		e.Evidence = append([]event.Evidence{{Fact: logs.EnforcerFact + logs.Santa, Value: ruleOf(&x), Strength: event.Medium, Source: "said by Santa"}}, e.Evidence...)
	}
	e.Verdict = u.policy.Decide(&policy.Input{Event: e, Now: now, Final: true})
	stops := e.Verdict.Action.Stops()
	e.Verdict.Enforced = e.Verdict.Enforced && (!stops || blocked)
	switch {
	case blocked && !stops:
		e.Explanation = "Santa stopped it (" + x.Decision + "), which this policy does not ask for"
	case blocked:
		e.Explanation, e.Verdict.Enforced = "Santa stopped it ("+x.Decision+")", true
	case stops:
		e.Explanation = "Santa let it run (" + x.Decision + ")"
	}
	return report{e, blocked || stops || len(e.Verdict.Obligations) > 0}, true
}

// ruleOf is the rule that stopped an execution, as policy/export calls it; "" where the decision does not tell.
func ruleOf(x *execution) string {
	switch x.Decision {
	case "BLOCK_BINARY":
		return "BINARY:" + strings.ToLower(x.SHA256)
	case "BLOCK_TEAMID":
		return "TEAMID:" + clip(x.TeamID)
	case "BLOCK_SIGNINGID":
		return "SIGNINGID:" + clip(x.SigningID)
	}
	return ""
}

// timeOf is the moment of a number of seconds, or now when that cannot be.
func timeOf(seconds float64, now time.Time) time.Time {
	if seconds <= 0 || seconds > float64(now.Add(aheadMost).Unix()) {
		return now
	}
	return time.UnixMicro(int64(seconds * 1e6)).UTC()
}

// publisherOf is the subject of the certificate that signed.
func publisherOf(x *execution) string {
	if len(x.Chain) == 0 {
		return ""
	}
	var parts []string
	for _, p := range [][2]string{{"CN", x.Chain[0].CN}, {"O", x.Chain[0].Org}, {"OU", x.Chain[0].OU}} {
		if p[1] != "" {
			parts = append(parts, p[0]+"="+p[1])
		}
	}
	return strings.Join(parts, ", ")
}

// identify names the messenger by content, by the signed identifier, and by the team where it makes nothing else.
func identify(c *catalog.Catalog, x *execution, p *event.Program) []event.Evidence {
	matches := c.ByHash(p.SHA256)
	if team, bundle, ok := strings.Cut(x.SigningID, ":"); ok && team == x.TeamID && team != "platform" && team != "" {
		matches = append(matches, c.ByBundle(bundle)...)
	}
	if x.TeamID != "" {
		matches = append(matches, c.ByTeam(x.TeamID)...)
	}
	matches = slices.DeleteFunc(matches, func(m catalog.Match) bool { return !m.Identity })
	var out []event.Evidence
	for _, m := range matches {
		if p.App == "" {
			p.App, p.Form = m.App, "client"
		}
		if m.App == p.App {
			p.Confidence = max(p.Confidence, m.Evidence.Strength)
			m.Evidence.Source = "said by Santa; " + m.Evidence.Source
			out = append(out, m.Evidence)
		}
	}
	return out
}

func (s *Server) undecodable(m *machine, host event.Host, body []byte, why error) *event.Event {
	now := s.deps.Clock.Now()
	body = body[:min(len(body), maxKept)]
	return &event.Event{ID: event.ImportID(s.eventKey, "santa "+strings.ToLower(m.ID), "undecodable", string(body)), Kind: event.Gap, Time: now, Until: now, Received: now,
		Connector: connectorName, Reason: event.ReasonUndecodable, Host: host,
		Content: event.Content{Raw: slices.Clone(body), Explanation: "Santa reported what could not be taken as it is: " + clip(why.Error())}}
}
