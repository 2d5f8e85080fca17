package doctor

import (
	"context"
	"os"
	"slices"

	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden"
)

// agentSocket is where the agent of this machine answers.
const agentSocket = "/run/chaperone/agent.sock"

// execution looks at what closes the ways around the agent, where one runs.
func execution(ctx context.Context, x *exam) {
	if _, err := os.Stat(agentSocket); err != nil {
		x.ok("no agent runs on this machine")
		return
	}
	reply, err := agent.Ask(ctx, agentSocket, &agent.Request{Status: true})
	if err != nil {
		x.add(Fail, "the agent does not answer: "+err.Error(), "programs are decided by what was allowed before, if its holder is alive", "systemctl status chaperone-agent")
		return
	}
	x.ok("the agent decides, in mode %s", reply.Mode)
	for _, s := range harden.Settings("", agent.Removable) {
		wanted := slices.Contains(x.c.Agent.Harden, string(s.Part))
		if s.Closed || s.Absent && !wanted {
			x.ok("%s: %s", s.Name, s.What)
			continue
		}
		do := s.Do
		if s.Part != "" && s.Part != harden.KernelPrograms { // which says so itself
			do = "chaperone agent harden --apply " + string(s.Part) + ", or: " + do
		}
		if wanted {
			x.add(Warn, s.Name+": "+s.What+", and agent.harden wants it closed", s.Why, do)
			continue
		}
		x.add(Warn, s.Name+": "+s.What, s.Why, do)
	}
}
