package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
)

// TestKept hands what one worker allowed to the holder of the next, under the same policy, where only root can change it and it lies on the
// system.
func TestKept(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the programs of others are not kept")
	}
	dir := filepath.Join(t.TempDir(), "state")
	for i, step := range []struct {
		what, policy string
		system       []string
		handed       int
	}{
		{"the first", blocking, []string{t.TempDir()}, 0},
		{"the same policy", blocking, []string{t.TempDir()}, 1},
		{"another policy", strings.Replace(blocking, "version: 1", "version: 1\n# another", 1), []string{t.TempDir()}, 0},
		{"nothing of the system", blocking, []string{"/proc"}, 0},
	} {
		t.Run(step.what, func(t *testing.T) {
			d := newDesk(t, agent.Options{Load: load(step.policy), Dir: dir, System: step.system})
			if len(d.handed) != step.handed {
				t.Errorf("%d: %d programs were handed over, want %d", i, len(d.handed), step.handed)
			}
			if !d.allows("") || d.ask(messenger) {
				t.Error("it decides wrongly")
			}
		})
	}
}
