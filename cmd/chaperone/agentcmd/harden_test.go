package agentcmd_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
)

// TestHarden says how the settings are, says what would be changed, changes it, and takes it back. An agent runs, and puts that on record.
func TestHarden(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	config := f.write(filepath.Join(f.work, "agent.yaml"), "data_dir: "+f.work+"/data\npolicy: policy.yaml\nagent: {harden: [namespaces]}\n", 0o600)
	f.start("--config", config)
	root := filepath.Join(f.work, "machine")
	setting, dropIn := filepath.Join(root, "proc/sys/user/max_user_namespaces"), filepath.Join(root, "etc/sysctl.d/99-chaperone-namespaces.conf")
	if err := errors.Join(os.MkdirAll(filepath.Dir(setting), 0o755), os.MkdirAll(filepath.Dir(dropIn), 0o755), os.WriteFile(setting, []byte("127000\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		return f.chaperone(append([]string{"agent", "harden", "--config", config, "--root", root, "--socket", filepath.Join(f.work, "agent.sock")}, args...)...)
	}
	state := func() (closed, applied, wanted bool) {
		t.Helper()
		for line := range strings.Lines(run("--json")) {
			var l struct {
				Part                    string
				Closed, Applied, Wanted bool
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			if l.Part == "namespaces" {
				return l.Closed, l.Applied, l.Wanted
			}
		}
		t.Fatal("it says nothing of namespaces")
		return false, false, false
	}
	if closed, applied, wanted := state(); closed || applied || !wanted {
		t.Error(closed, applied, wanted)
	}
	if out := run("--apply", "configured"); !strings.Contains(out, "Nothing was changed") || !strings.Contains(out, "would be set from 127000 to 0") {
		t.Error(out)
	}
	if _, err := os.Stat(dropIn); err == nil {
		t.Error("it wrote without being told to")
	}
	run("--apply", "configured", "--yes")
	if closed, applied, _ := state(); !closed || !applied {
		t.Error(closed, applied)
	}
	for what, args := range map[string][]string{"again": {"--apply", "namespaces"}, "nonsense": {"--apply", "nonsense"}, "not applied": {"--undo", "memfd"}} {
		if out, err := exec.Command(f.binary, append([]string{"agent", "harden", "--config", config, "--root", root}, args...)...).CombinedOutput(); err == nil {
			t.Errorf("%s: %s", what, out)
		}
	}
	run("--undo", "namespaces", "--yes")
	b, err := os.ReadFile(setting)
	if _, left := os.Stat(dropIn); err != nil || string(b) != "127000\n" || left == nil {
		t.Errorf("%q, %v, %v", b, err, left)
	}
	for _, action := range []string{"harden.apply", "harden.undo"} {
		e := f.spooled(action, func(e *event.Event) bool { return e.Phase == action })
		if e.Act.Object != "namespaces" || e.From.Handle != "root" || len(e.Act.Details) != 4 {
			t.Errorf("%+v, %+v", e.From, e.Act)
		}
	}
}
