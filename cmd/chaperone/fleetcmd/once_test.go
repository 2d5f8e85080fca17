package fleetcmd_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
)

// machine enrols one, approved, and returns its state.
func (h *house) machine() string {
	h.t.Helper()
	state := h.t.TempDir()
	code := strings.TrimSpace(h.admin(0, "enroll-code"))
	h.fleet(2, "enroll", "--state", state, "--server", h.address, "--wait", "1s", code)
	h.admin(0, "approve", "--all")
	h.fleet(0, "enroll", "--state", state, "--server", h.address, code)
	return state
}

// TestOnceKeepsEachRoot: what is not there is said before anything is sent, a scan of one folder forgets nothing of another, and a restored state
// is told as what it is.
func TestOnceKeepsEachRoot(t *testing.T) {
	h := newHouse(t)
	h.serve()
	state, home, opt := h.machine(), t.TempDir(), t.TempDir()
	if _, err := scantest.WriteRenamedInstaller(home); err != nil {
		t.Fatal(err)
	}
	out := h.fleet(1, "once", "--state", state, home)
	h.has(out, "block: telegram", home+"/", "1 programs that it forbids")
	h.has(h.fleet(2, "once", "--state", state, home, filepath.Join(opt, "nonexistent")), "nonexistent", "nothing was reported")
	earlier := filepath.Join(t.TempDir(), "snapshot")
	if err := os.CopyFS(earlier, os.DirFS(state)); err != nil {
		t.Fatal(err)
	}
	h.has(h.fleet(0, "once", "--state", state, opt), "0 programs that it forbids")
	h.has(h.admin(0, "hosts", "--programs", "--json"), home+"/")
	link := filepath.Join(t.TempDir(), "link") // the same folder under another name
	if err := os.Symlink(home, link); err != nil {
		t.Fatal(err)
	}
	var last map[string]any
	types := ""
	for line := range strings.Lines(h.fleet(1, "once", "--json", "--state", state, link)) {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		types += last["type"].(string) + " "
	}
	if types != "program summary " || last["forbidden"] != 1.0 || last["waiting"] != 0.0 {
		t.Errorf("%s: %v", types, last)
	}
	h.has(h.fleet(2, "once", "--state", earlier, home), "is a copy, or was restored", "enrol it", "0 reports wait")
	h.has(h.fleet(1, "once", "--state", earlier, home), "1 programs that it forbids")
	h.has(h.admin(0, "hosts", "--programs"), "copied", "telegram")
}

// TestOrdersSayWhy: what cannot be is refused with what is near, a campaign says why nothing was done on a machine, and --json has all of it.
func TestOrdersSayWhy(t *testing.T) {
	h := newHouse(t)
	h.serve()
	state, files := h.machine(), t.TempDir()
	path, err := scantest.WriteRenamedInstaller(files)
	if err != nil {
		t.Fatal(err)
	}
	h.fleet(1, "once", "--state", state, files)
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--host " + name + " --app telegrm":              `did you mean "telegram"?`,
		"--group nosuch --app telegram":                  `no group "nosuch"`,
		"--person nosuch --app telegram":                 "the table of people has no",
		"--host " + name:                                 "names nothing",
		"--host " + name + " --app telegram --for 9000h": "a year ahead",
	} {
		h.has(h.admin(2, append([]string{"allow", "--reason", "x"}, strings.Fields(args)...)...), want)
	}
	h.has(h.admin(2, "campaign", "plan", "--reason", "x", "--canary", "nosuch", "telegram"), "no machine to begin with", "nosuch")
	one := func(text string) map[string]any {
		t.Helper()
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return v
	}
	if v := one(h.admin(0, "enroll-code", "--json")); !strings.HasPrefix(v["code"].(string), "CF1-") {
		t.Error(v)
	}
	granted := one(h.admin(0, "allow", "--json", "--host", name, "--app", "signal", "--reason", "x"))["approval"].(map[string]any)
	if v := one(h.admin(0, "withdraw", "--json", "--reason", "x", granted["id"].(string))); v["id"] != granted["id"] {
		t.Error(v)
	}
	plan := one(h.admin(0, "campaign", "plan", "--json", "--reason", "x", "--sha256", installer(), "telegram"))
	if err := os.WriteFile(path, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	id := plan["id"].(string)
	if v := one(h.admin(0, "campaign", "start", "--json", "--plan", plan["digest"].(string), id)); v["stage"] != "canary" {
		t.Error(v)
	}
	h.has(h.admin(0, "campaign", "show", id), "remove telegram, stage canary", "not answered by 1 of 1 machines: "+name)
	h.has(h.fleet(0, "once", "--state", state), "order remove of campaign "+id, path+": not done: the file is another")
	h.has(h.admin(0, "campaign", "show", id), path+": not done: the file is another than the plan names")
	h.has(h.admin(0, "campaign", "list"), "FAILED", "remove  canary  1      0     1")
	if v := one(h.admin(0, "campaign", "undo", "--json", id)); v["stage"] != "undone" {
		t.Error(v)
	}
	if v := one(h.admin(0, "refuse", "--json", "--reason", "x", name)); v["state"] != "revoked" {
		t.Error(v)
	}
}
