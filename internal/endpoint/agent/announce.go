package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// announce puts on record how the agent decides from now on: its mode, policy and catalog, and what is wrong with them. A worker that was
// started anew under the same holder, and decides as the one before, says nothing.
func (a *Agent) announce() {
	a.mu.Lock()
	r := a.rules
	a.mu.Unlock()
	facts := []event.Fact{{Name: "mode", Value: string(a.o.Mode)}, {Name: "policy", Value: r.Policy.Version()}, {Name: "catalog", Value: r.Catalog.Version()}}
	for _, more := range []event.Fact{{Name: "problem", Value: r.Problem}, {Name: "note", Value: Lenient(a.o.Mode, r.Policy)}} {
		if more.Value != "" {
			facts = append(facts, more)
			a.log.Warn("deciding", more.Name, more.Value)
		}
	}
	now := fmt.Appendf(nil, "%s %d %q\n", boot(), os.Getppid(), facts)
	path := filepath.Join(a.o.Dir, "announced")
	if before, err := os.ReadFile(path); err == nil && string(before) == string(now) {
		return
	}
	a.spool.PutThen(Act(&event.ActDetail{Action: "agent.decides", Details: facts}, "agent", a.o.Host), func() {
		if err := durable.Replace(path, now, 0o600); err != nil { // it is announced again then
			a.log.Warn("announced", "error", err)
		}
	})
}

const noBoot = "?"

// boot tells one start of the machine from another, as process numbers do not.
func boot() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return noBoot
	}
	return string(b[:min(len(b), 36)])
}

// Lenient says that an agent which refuses has a policy that stops no program, "" when it does.
func Lenient(mode judge.Mode, p *policy.Policy) string {
	if mode != judge.DenyList && mode != judge.Lockdown {
		return ""
	}
	if f := p.File(); event.Action(f.Otherwise.Programs).Stops() && f.Mode.Programs != "monitor" {
		return ""
	}
	for _, rule := range p.Rules() {
		at := slices.Index(rule.Planes, "programs")
		if at >= 0 && rule.Mode[at] == "enforce" && event.Action(rule.Verdict).Stops() {
			return ""
		}
	}
	if mode == judge.Lockdown {
		return "the policy stops no messenger that a package brought: its rules on programs only monitor (mode: {programs: enforce} changes that)"
	}
	return "the policy stops no program: its rules on them only monitor, so that what they forbid is put on record and starts (mode: {programs: enforce} changes that)"
}
