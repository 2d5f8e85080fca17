package agentcmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLastGoodConfiguration starts an agent whose configuration a full disk cut. It refuses messengers still, and says what is wrong, where the
// unit's folder or --data says what it worked with last; where nothing does it ends.
func TestLastGoodConfiguration(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	path := filepath.Join(f.work, "agent.yaml")
	whole := "data_dir: data\npolicy: policy.yaml\nagent: {mode: deny-list}\n"
	f.write(path, whole, 0o644)
	f.start("--config", path)
	if now := f.status(); now.Problem != "" {
		t.Fatal(now.Problem)
	}
	f.stop()
	for _, text := range []string{"", "# cut", whole[:len(whole)-8]} {
		f.write(path, text, 0o644)
		f.start("--config", path) // with --data, as all of the field
		f.want(f.program("bad", messenger), false)
		if now := f.status(); now.Mode != "deny-list" || !strings.Contains(now.Problem, "the last good configuration and the last good policy are in force") || !strings.Contains(now.Problem, path) {
			t.Errorf("%q: %+v", text, now)
		}
		f.stop()
	}
	spool, err := os.ReadFile(filepath.Join(f.work, "data", "agent", "spool", "spool.jsonl"))
	if err != nil || !strings.Contains(string(spool), "the last good configuration and the last good policy are in force") {
		t.Errorf("it is not on record (%v)", err)
	}
	kept, err := os.ReadFile(filepath.Join(f.work, "data", "agent", "last-good", "agent.yaml"))
	if err != nil || string(kept) != whole {
		t.Errorf("kept %q, %v", kept, err)
	}
	args := []string{"agent", "--only", filepath.Join(f.work, "watched"), "--socket", filepath.Join(f.work, "agent.sock"), "--config", path}
	for _, state := range []string{"", t.TempDir()} {
		cmd := exec.Command(f.binary, args...)
		cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+state)
		if out, err := cmd.CombinedOutput(); err == nil || strings.Contains(string(out), "agent in mode") {
			t.Errorf("%q: %v\n%s", state, err, out)
		}
	}
	t.Setenv("STATE_DIRECTORY", t.TempDir()+":"+filepath.Join(f.work, "data"))
	f.startBare(args)
	f.want(f.program("bad", messenger), false)
}
