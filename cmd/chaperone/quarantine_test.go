package main

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// TestUnsureFilesAreLeftAlone takes away what is recognised, and shows what only bears a messenger's name without touching it.
func TestUnsureFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	firm, tree := filepath.Join(dir, "firm"), filepath.Join(dir, "tree")
	if status, _, errOut := runCommand(t, "quickstart", firm); status != 0 {
		t.Fatal(errOut)
	}
	bold := filepath.Join(dir, "bold.yaml") // a policy that stops what is only called a messenger
	if err := os.WriteFile(bold, []byte("version: 1\nrules:\n  - {id: no-messengers, apps: [\"*\"], confidence: low, verdict: block}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unsure, certain := filepath.Join(tree, "unsure.exe"), filepath.Join(tree, "certain.exe")
	for _, act := range []string{"--quarantine", "--remove"} {
		err := errors.Join(os.MkdirAll(tree, 0o755), os.WriteFile(unsure, programtest.PE(map[string]string{"ProductName": "Signal"}), 0o644),
			os.WriteFile(certain, programtest.PE(map[string]string{"ProductName": "Signal", "CompanyName": "Signal Messenger, LLC"}), 0o644))
		if err != nil {
			t.Fatal(err)
		}
		status, out, errOut := runCommand(t, "scan", "--json", act, "--policy", bold, "--data", filepath.Join(firm, "data"), tree)
		if status != 1 {
			t.Errorf("%s: status %d, %s", act, status, errOut)
		}
		if _, err := os.Stat(unsure); err != nil {
			t.Errorf("%s: a name alone was acted on: %v\n%s", act, err, out)
		}
		if _, err := os.Stat(certain); err == nil {
			t.Errorf("%s: the messenger is still there:\n%s", act, out)
		}
		if !strings.Contains(out, `"action":"none"`) || !strings.Contains(out, "confidence 0.50 is below 0.80") {
			t.Errorf("%s: it does not say why:\n%s", act, out)
		}
	}
	if _, out, _ := runCommand(t, "scan", "--policy", bold, tree); !strings.Contains(out, "unsure.exe: left alone") {
		t.Errorf("people are not told:\n%s", out)
	}
	if status, out, _ := runCommand(t, "scan", tree); status != 0 || !strings.Contains(out, "confidence 0.50: allow by rule otherwise") {
		t.Errorf("by the quickstart policy it is status %d:\n%s", status, out)
	}
}

// TestHeldOwner takes nothing from a person under hold, though their machine is not, and the plan says so.
func TestHeldOwner(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t)
	tree := t.TempDir()
	path := filepath.Join(tree, "certain.exe")
	if err := os.WriteFile(path, programtest.PE(map[string]string{"ProductName": "Signal", "CompanyName": "Signal Messenger, LLC"}), 0o644); err != nil {
		t.Fatal(err)
	}
	d.says(0, "", d.as("counsel", "hold", "place", "case-9", "--person", me.Username, "--reason", "litigation")...)
	data, plan := filepath.Join(d.dir, "data"), filepath.Join(t.TempDir(), "plan.json")
	d.says(1, "nothing was changed", "scan", "--remove", "--plan", plan, "--data", data, tree)
	if b, err := os.ReadFile(plan); err != nil || !strings.Contains(string(b), `"held": "under a legal hold`) || !strings.Contains(string(b), "matter case-9") {
		t.Errorf("the plan does not tell: %s, %v", b, err)
	}
	for _, args := range [][]string{{"--remove"}, {"--quarantine"}} {
		d.says(2, "matter case-9", append(append([]string{"scan", "--data", data}, args...), tree)...)
	}
	d.says(2, "matter case-9", "scan", "--data", data, "--apply", plan)
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	d.says(0, "", d.as("counsel", "hold", "release", "case-9", "--reason", "settled")...)
	d.says(1, "in quarantine as", "scan", "--data", data, "--apply", plan)
}
