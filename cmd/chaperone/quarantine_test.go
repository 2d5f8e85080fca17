package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
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
		if _, err := os.Stat(certain); (err == nil) != (act == "--remove") { // a claim is no identity
			t.Errorf("%s: the messenger: %v\n%s", act, err, out)
		}
		if !strings.Contains(out, `"action":"none"`) || !strings.Contains(out, "confidence 0.50 is below 0.80") {
			t.Errorf("%s: it does not say why:\n%s", act, out)
		}
	}
	if _, out, _ := runCommand(t, "scan", "--policy", bold, tree); !strings.Contains(out, "unsure.exe: left alone") {
		t.Errorf("people are not told:\n%s", out)
	}
	if err := os.Remove(certain); err != nil {
		t.Fatal(err)
	}
	if status, out, _ := runCommand(t, "scan", tree); status != 0 || !strings.Contains(out, "confidence 0.50: allow by rule otherwise") {
		t.Errorf("by the quickstart policy it is status %d:\n%s", status, out)
	}
}

// TestRemoveActsOnIdentity leaves alone what only claims to be a messenger or has its words in it, says why, and does it once somebody names
// the file by its exact hash: on the command line, in a rule, or in a plan.
func TestRemoveActsOnIdentity(t *testing.T) {
	dir := t.TempDir()
	data, tree, plan := filepath.Join(dir, "firm", "data"), filepath.Join(dir, "tree"), filepath.Join(dir, "plan")
	if status, _, errOut := runCommand(t, "quickstart", filepath.Join(dir, "firm")); status != 0 {
		t.Fatal(errOut)
	}
	claim := programtest.PE(map[string]string{"ProductName": "Signal", "CompanyName": "Signal Messenger, LLC"})
	path, known := filepath.Join(tree, "claim.exe"), filepath.Join(tree, "known.deb")
	put := func() {
		t.Helper()
		if err := errors.Join(os.MkdirAll(tree, 0o755), os.WriteFile(path, claim, 0o644), os.WriteFile(known, programtest.Deb("signal-desktop", "7.0", nil), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	hash := fmt.Sprintf("%x", sha256.Sum256(claim))
	rules := filepath.Join(dir, "rules.yaml")
	if err := os.WriteFile(rules, []byte("version: 1\nrules:\n  - {id: all, apps: [\"*\"], verdict: block}\n  - {id: seen, programs: {sha256: ["+hash+"]}, verdict: block}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	scan := func(status int, want string, args ...string) {
		t.Helper()
		if got, out, errOut := runCommand(t, append([]string{"scan", "--data", data}, args...)...); got != status || !strings.Contains(out, want) {
			t.Errorf("%q: status %d, without %q:\n%s%s", args, got, want, out, errOut)
		}
	}
	gone := func(want bool) {
		t.Helper()
		if _, err := os.Stat(path); (err != nil) != want {
			t.Errorf("the claim: %v", err)
		}
		if _, err := os.Stat(known); err == nil {
			t.Error("the package is still there")
		}
	}
	why := "claim.exe: left alone by --remove: nothing identifies the messenger for itself (claimed-publisher:O=Signal Messenger, LLC 0.75, product:Signal 0.50); --quarantine moves the file away; if you looked at it, --sha256 " + hash
	put()
	scan(1, why, tree)
	scan(1, why, "--remove", tree)
	gone(false)
	put()
	scan(1, "in quarantine as", "--remove", "--sha256", hash, tree)
	gone(true)
	put()
	scan(1, "in quarantine as", "--remove", "--policy", rules, tree)
	gone(true)
	put()
	scan(1, "plan for 2 files", "--remove", "--plan", plan, tree)
	scan(1, "in quarantine as", "--apply", plan)
	gone(false)
	b, err := os.ReadFile(plan)
	if err != nil || strings.Count(string(b), `"would": "quarantine"`) != 1 {
		t.Fatalf("%v: %s", err, b)
	}
	approved := strings.Replace(string(b), `"action": "none",`, `"action": "none", "approved_by": "alice, CHG-7",`, 1)
	if err := os.WriteFile(plan, []byte(approved), 0o600); err != nil {
		t.Fatal(err)
	}
	put() // the package is another file than the plan names
	scan(2, "in quarantine as", "--apply", plan)
	if _, err := os.Stat(path); err == nil {
		t.Error("what was approved is still there")
	}
	scan(2, "", "--remove", "--sha256", "abc", tree)
}

// TestHeldOwner takes nothing from a person under hold, though their machine is not, and the plan says so.
func TestHeldOwner(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t)
	tree := t.TempDir()
	path := filepath.Join(tree, "certain.deb")
	if err := os.WriteFile(path, programtest.Deb("signal-desktop", "7.0", nil), 0o644); err != nil {
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

// TestHeldStore leaves the messenger where a person under hold has conversations with it, whoever owns the program; policy stops it all the same.
func TestHeldStore(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving a folder to another needs root")
	}
	d := newDesk(t)
	tree := t.TempDir()
	path, store := filepath.Join(tree, "known.deb"), filepath.Join(tree, "home", ".local", "share", "TelegramDesktop", "tdata")
	if err := errors.Join(os.MkdirAll(store, 0o755), os.WriteFile(filepath.Join(store, "key"), []byte("secret"), 0o600),
		os.WriteFile(path, programtest.Deb("telegram-desktop", "4.6", nil), 0o644), os.Chown(store, 1, 1)); err != nil {
		t.Fatal(err)
	}
	who, err := user.LookupId("1")
	if err != nil {
		t.Skip(err)
	}
	d.says(0, "", d.as("counsel", "hold", "place", "case-8", "--person", who.Username, "--reason", "litigation")...)
	data, plan := filepath.Join(d.dir, "data"), filepath.Join(t.TempDir(), "plan.json")
	d.says(1, "nothing was changed", "scan", "--remove", "--plan", plan, "--data", data, tree)
	if b, err := os.ReadFile(plan); err != nil || !strings.Contains(string(b), "matter case-8") {
		t.Errorf("the plan does not tell: %s, %v", b, err)
	}
	d.says(2, "matter case-8", "scan", "--remove", "--data", data, tree)
	d.says(2, "matter case-8", "scan", "--data", data, "--apply", plan)
	d.says(1, "verdict\":\"block", "scan", "--json", "--data", data, tree)
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	d.says(0, "", d.as("counsel", "hold", "release", "case-8", "--reason", "settled")...)
	d.says(1, "sealed history", "scan", "--remove", "--data", data, tree)
	if _, err := os.Stat(path); err == nil {
		t.Error("it is still there")
	}
}

// TestApplyReachesFar carries out a plan for a file that lies deeper than the longest path that the system takes, and says of a folder that is a link
// now what it is.
func TestApplyReachesFar(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	firm, tree, plan := filepath.Join(dir, "firm"), filepath.Join(dir, "tree"), filepath.Join(dir, "plan.json")
	if status, _, errOut := runCommand(t, "quickstart", firm); status != 0 {
		t.Fatal(errOut)
	}
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	at, err := os.OpenRoot(tree)
	for name := strings.Repeat("d", 100); err == nil && len(at.Name()) < 5000; {
		var next *os.Root
		if err = at.Mkdir(name, 0o755); err == nil {
			next, err = at.OpenRoot(name)
			err = errors.Join(err, at.Close())
		}
		at = next
	}
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	if err := at.WriteFile("x", programtest.PE(map[string]string{"ProductName": "Signal", "CompanyName": "Signal Messenger, LLC"}), 0o644); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(firm, "data")
	if status, out, errOut := runCommand(t, "scan", "--quarantine", "--plan", plan, "--data", data, tree); status != 1 || !strings.Contains(out, "plan for 1 files") {
		t.Fatalf("status %d, %s\n%s", status, errOut, out)
	}
	if err := errors.Join(os.Rename(tree, tree+"2"), os.Symlink(tree+"2", tree)); err != nil {
		t.Fatal(err)
	}
	if status, out, _ := runCommand(t, "scan", "--apply", plan, "--data", data); status != 2 || !strings.Contains(out, "it could not be looked into: unreadable") {
		t.Errorf("behind a link: status %d\n%s", status, out)
	}
	if err := errors.Join(os.Remove(tree), os.Rename(tree+"2", tree)); err != nil {
		t.Fatal(err)
	}
	if status, out, errOut := runCommand(t, "scan", "--apply", plan, "--data", data); status != 1 || !strings.Contains(out, "in quarantine as") {
		t.Errorf("status %d, %s\n%s", status, errOut, out)
	}
	if _, err := at.Lstat("x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
}
