package fleetcmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/fleetcmd"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/endpoint/update"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/updatetest"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/server/fleet/packages"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// inside says that this process is on a machine to throw away.
var inside bool

// TestUpdate takes a machine from release to release, with the whole server, the real client and the real dpkg: one that works, one that does not start,
// one whose client ends at once, and one that works after all that. It takes half a minute, and runs on demand (CHAPERONE_SOAK=1).
func TestUpdate(t *testing.T) {
	if !inside {
		if os.Getenv("CHAPERONE_SOAK") == "" {
			t.Skip("takes half a minute: CHAPERONE_SOAK=1")
		}
		updatetest.Run(t, "TestUpdate")
		return
	}
	u := newUpdating(t)
	for _, step := range []struct{ version, program, state, why string }{
		{"1.1", u.self, "installed", ""},
		{"1.2", "/bin/false", "rolled back", "does not start"},
		{"1.3", u.script("case $1 in version) echo chaperone 1.3 ;; *) exit 1 ;; esac"), "rolled back", "has not reached the server"},
		{"1.4", u.self, "installed", ""},
	} {
		deb := u.deb(step.version, step.program)
		u.has(u.fleet(0, "release", "sign", "--key", u.secret, deb), "chaperone "+step.version, "deb of amd64")
		u.has(u.admin(0, "release", "plan", "--all", deb+".note"), "1 offered")
		u.admin(0, "release", "offer", "--host", u.host, deb+".note", deb)
		m := u.until(func(m packages.MachineLine) bool { return m.State == step.state && m.Online })
		if !strings.Contains(m.Why, step.why) {
			t.Errorf("%s: %+v", step.version, m)
		}
		t.Logf("%s: %s %s", step.version, m.State, m.Why)
	}
	u.has(u.admin(0, "release", "status"), "chaperone 1.4", "1 installed")
	out, err := exec.Command("dpkg-query", "--show", "--showformat=${Version}", "chaperone").Output()
	if err != nil || string(out) != "1.4" {
		t.Errorf("dpkg has %q, %v", out, err)
	}
	id := strings.Fields(u.admin(0, "release", "status"))[1]
	u.admin(0, "release", "withdraw", "--reason", "over", strings.TrimSuffix(id, ":"))
	u.stop()
	acts := strings.Join(u.acts(), " ")
	u.has(acts, "fleet.release.offer agent.update.offer agent.update.install", "fleet.release.offer agent.update.offer agent.update.rollback", "fleet.release.withdraw")
}

// updating is a fleet whose only machine is one to throw away.
type updating struct {
	*house
	self, host, secret string
	stop               func()
}

func newUpdating(t *testing.T) *updating {
	t.Helper()
	u := &updating{house: newHouse(t), secret: filepath.Join(t.TempDir(), "release.key")}
	u.self = fmt.Sprintf("/proc/%d/exe", os.Getpid())
	var err error
	if u.host, err = os.Hostname(); err != nil {
		t.Fatal(err)
	}
	verifier := strings.TrimSpace(u.fleet(0, "release", "key", "-o", u.secret, "release.example.org"))
	u.fleet(2, "release", "key", "-o", u.secret, "release.example.org")
	if out, err := exec.Command("dpkg", "--install", u.deb("1.0", u.self)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data := t.TempDir()
	conf := filepath.Join(t.TempDir(), "agent.yaml")
	text := "data_dir: " + data + "\nagent: {server: \"https://" + u.address + "\", update: {key: " + verifier + "}}\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	u.stop = u.serve()
	code := strings.TrimSpace(u.admin(0, "enroll-code"))
	state := fleetcmd.State(data)
	u.fleet(2, "enroll", "--state", state, "--server", u.address, "--wait", "1s", code)
	u.admin(0, "approve", "--all")
	u.fleet(0, "enroll", "--state", state, "--server", u.address, code)
	cmd := exec.Command(update.Binary, "fleet", "agent", "--config", conf, "--update-within", "10s")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		u.end(conf)
	})
	return u
}

// end ends the client that an installation started.
func (u *updating) end(conf string) {
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		u.t.Error(err)
	}
	for _, path := range list {
		words, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(words), update.Binary+"\x00") || !strings.Contains(string(words), conf) {
			continue
		}
		var pid int
		if json.Unmarshal([]byte(filepath.Base(filepath.Dir(path))), &pid) == nil {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func (u *updating) deb(version, program string) string {
	u.t.Helper()
	path, err := updatetest.Deb(u.t.Context(), u.t.TempDir(), "chaperone", version, "amd64", map[string]string{update.Binary: program})
	if err != nil {
		u.t.Fatal(err)
	}
	return path
}

func (u *updating) script(text string) string {
	u.t.Helper()
	path := filepath.Join(u.t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		u.t.Fatal(err)
	}
	return path
}

// until waits until the machine does with the newest release as wanted.
func (u *updating) until(want func(m packages.MachineLine) bool) packages.MachineLine {
	u.t.Helper()
	var last string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		last, _, _ = strings.Cut(u.admin(0, "release", "status", "--json"), "\n")
		var l packages.Line
		if err := json.Unmarshal([]byte(last), &l); err != nil {
			u.t.Fatal(err)
		}
		if len(l.Machines) == 1 && want(l.Machines[0]) {
			return l.Machines[0]
		}
	}
	u.t.Fatalf("not within two minutes: %s", last)
	return packages.MachineLine{}
}

// acts are the acts on record that are about releases.
func (u *updating) acts() (out []string) {
	u.t.Helper()
	j, _, err := file.Open(filepath.Join(u.dir, "data"), file.Options{Clock: clock.System{}})
	if err != nil {
		u.t.Fatal(err)
	}
	defer j.Close()
	for f, err := range j.Frames(u.t.Context(), journal.Local, 1) {
		if err != nil {
			u.t.Fatal(err)
		}
		for _, r := range f.Records {
			if head, err := event.ParseHeader(r.Header); err == nil && (strings.HasPrefix(head.Phase, "agent.update.") || strings.HasPrefix(head.Phase, "fleet.release.")) {
				out = append(out, head.Phase)
			}
		}
	}
	return out
}
