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
