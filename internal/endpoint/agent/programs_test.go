package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden/lsm"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/event"
)

// TestProgramsThatCannotBeLoaded are no reason not to decide: it is on record that they are wanted, and why they are not there.
func TestProgramsThatCannotBeLoaded(t *testing.T) {
	dir, sys := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "harden"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "harden", "programs.json"), []byte(`{"part":"programs"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, agent.Options{Load: load(blocking), Dir: dir, Sys: sys, Programs: true})
	d.records.await(t, "gap", func(e *event.Event) bool {
		return e.Kind == event.Gap && strings.Contains(e.Explanation, "programs in the kernel are wanted") && strings.Contains(e.Explanation, "does not tell which security modules")
	})
}

// TestFromKernel says who was refused what, and does not send him to ask for what there is not.
func TestFromKernel(t *testing.T) {
	now := time.Now()
	for reason, rule := range map[lsm.Reason]string{lsm.FromMemory: agent.RuleFromMemory, lsm.FromNamespace: agent.RuleFromNamespace} {
		e := agent.FromKernel(&lsm.Refusal{Reason: reason, Process: 17, User: 1000, Command: "bash", Path: "/memfd:client (deleted)"}, now)
		v := e.Verdict
		if v.Rule != rule || v.Action != event.Block || !v.Enforced || v.Say == "" || !strings.Contains(v.Reason, "process 17 (bash)") || e.Kind != event.ProgramRun ||
			e.Program.Path != "/memfd:client (deleted)" || len(e.NotChecked) != 1 || !e.Time.Equal(now) {
			t.Errorf("%+v", e)
		}
		if how := agent.HowToAsk(judge.Stop{Event: e}); how != "" {
			t.Error(how)
		}
	}
	e := &event.Event{Content: event.Content{Program: &event.Program{Path: "/client"}}}
	if how := agent.HowToAsk(judge.Stop{Event: e}); !strings.Contains(how, `request "/client"`) {
		t.Error(how)
	}
}
