package doctor

import (
	"context"
	"os"
	"slices"

	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden"
)

// execution looks at the agent of this machine, and at what closes the ways around it, where one runs.
func execution(ctx context.Context, x *exam) {
	socket := x.c.Path(x.c.Agent.Socket)
	_, err := os.Stat(socket)
	if err != nil && x.c.Agent.Server == "" {
		x.ok("no agent runs on this machine")
		return
	}
	var reply *agent.Reply
	if err == nil {
		reply, err = agent.Ask(ctx, socket, &agent.Request{Status: true})
	}
	if err != nil {
		x.add(Fail, "no agent answers at "+socket+": "+err.Error(), "nothing is decided here, or by what was allowed before while its holder is alive", "systemctl status chaperone-agent")
		return
	}
	x.ok("the agent decides, in mode %s", reply.Mode)
	if reply.Problem != "" {
		x.add(Fail, reply.Problem, "the agent does not decide by what it is told", "correct it; chaperone policy check says the place")
	}
	if reply.Note != "" {
		x.add(Warn, reply.Note, "the agent looks at programs and stops none", "chaperone policy check tells the mode of each rule")
	}
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
