package agentcmd_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// status is what the agent of the field says of itself.
func (f *field) status() (out struct{ Mode, Policy, Problem, Note string }) {
	f.t.Helper()
	text := f.run(f.binary, "agent", "status", "--json", "--socket", filepath.Join(f.work, "agent.sock"))
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		f.t.Fatal(err)
	}
	return out
}

// TestLastGoodPolicy breaks the policy under an agent whose worker is killed, and whose machine is started anew: it refuses messengers still, what
// may start starts, and the mistake is told until it is mended.
func TestLastGoodPolicy(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	f.start()
	before := f.status()
	if before.Problem != "" || before.Note != "" {
		t.Fatalf("%+v", before)
	}
	path := filepath.Join(f.work, "policy.yaml")
	f.write(path, denyPolicy+"x: [", 0o644)
	decides := func(name string) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
			now := f.asked()
			if strings.Contains(now, "last good policy") && strings.Contains(now, before.Policy) {
				break
			} else if time.Now().After(end) {
				t.Fatalf("%s: %s", name, now)
			}
		}
		f.want(f.program(name+"-bad", messenger), false)
		f.want(f.program(name+"-good", name), true)
	}
	for _, pid := range f.workers() {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	decides("killed")
	f.stop()
	f.start()
	decides("started")
	f.write(path, denyPolicy, 0o644)
	_ = f.agent.Process.Signal(unix.SIGHUP)
	for end := time.Now().Add(2 * time.Minute); f.status().Problem != ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the mended policy is not in force")
		}
	}
	f.write(path, strings.Replace(denyPolicy, "mode: enforce", "mode: monitor", 1), 0o644)
	_ = f.agent.Process.Signal(unix.SIGHUP)
	for end := time.Now().Add(2 * time.Minute); !strings.Contains(f.status().Note, "stops no program"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody says that the policy only monitors")
		}
	}
	f.want(f.program("watched-bad", messenger), true)
	spool, err := os.ReadFile(filepath.Join(f.work, "data", "agent", "spool", "spool.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"agent.decides"`, `"name":"problem"`, `"name":"note"`} {
		if !strings.Contains(string(spool), want) {
			t.Errorf("%s is not on record", want)
		}
	}
}

// asked is what agent status prints, whether it is answered or not.
func (f *field) asked() string {
	out, _ := exec.Command(f.binary, "agent", "status", "--socket", filepath.Join(f.work, "agent.sock")).CombinedOutput()
	return string(out)
}

// TestAlone keeps a second agent from the folder and from the socket of the first.
func TestAlone(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	f.start()
	watched, policy, other := filepath.Join(f.work, "watched"), filepath.Join(f.work, "policy.yaml"), t.TempDir()
	for _, where := range [][]string{
		{"--data", filepath.Join(f.work, "data"), "--socket", filepath.Join(other, "agent.sock")},
		{"--data", other, "--socket", filepath.Join(f.work, "agent.sock")},
	} {
		args := append([]string{"agent", "--only", watched, "--policy", policy}, where...)
		out, err := exec.Command(f.binary, args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "another agent works here") {
			t.Errorf("%v: %v\n%s", where, err, out)
		}
	}
	out, err := exec.Command(f.binary, "agent", "--only", filepath.Join(watched, "nothing"), "--data", other).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "there is no such folder") {
		t.Errorf("%v\n%s", err, out)
	}
	if f.status().Mode != "deny-list" {
		t.Error("the first agent is not at its socket")
	}
}
