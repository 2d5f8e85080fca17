package main

import (
	"errors"
	"os"
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
