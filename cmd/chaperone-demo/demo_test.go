package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/inspect/malware/clamdtest"
)

// TestPlay plays the whole story, with the real program, Prosody and clamd.
func TestPlay(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "chaperone")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, "../chaperone") // as make build does, so that Go has it at hand
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for range 2 { // playing it again is clean
		var out strings.Builder
		err := play(t.Context(), &out, options{dir: filepath.Join(dir, "demo"), bin: bin, corpus: "../../../shared/corpus", once: true})
		if (errors.Is(err, xmpptest.ErrMissing) || errors.Is(err, clamdtest.ErrMissing)) && os.Getenv("CHAPERONE_CI") != "1" {
			t.Skip(err)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		for _, want := range []string{"All 11 scenes played", "PROVEN since", "CONSISTENT, NOT PROVEN", "BROKEN", "/link/"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, &out)
			}
		}
	}
}

// TestPlayWithoutRoot plays it as nobody special: what needs root is left out and said, the rest is played.
func TestPlayWithoutRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("TestPlay is this one when it is not root who tests")
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "demo") // that of t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, source := range map[string]string{"chaperone": "../chaperone", "chaperone-demo": "."} {
		build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, name), source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	demo := exec.CommandContext(t.Context(), filepath.Join(dir, "chaperone-demo"), "--once", "--dir", filepath.Join(dir, "data"), "--chaperone", filepath.Join(dir, "chaperone"))
	demo.Dir, demo.Env = dir, append(os.Environ(), "HOME="+dir, "TMPDIR="+dir)
	demo.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := demo.CombinedOutput()
	if err != nil && os.Getenv("CHAPERONE_CI") != "1" && (strings.Contains(string(out), xmpptest.ErrMissing.Error()) || strings.Contains(string(out), clamdtest.ErrMissing.Error())) {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"9 of 11 scenes played, 2 left out", "Left out: it needs root, for fanotify", "Left out: it needs root and network namespaces", "BROKEN", "/link/"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestStart plays the scene of programs that do not start alone.
func TestStart(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root, for fanotify and mounts")
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "chaperone")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, "../chaperone") // as make build does, so that Go has it at hand
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var out strings.Builder
	s := &stage{options: options{dir: dir, bin: bin}, ctx: t.Context(), out: &out, root: true}
	if err := s.start(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	s.root = false
	if err := s.start(); err != nil || !strings.Contains(out.String(), "Left out") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestItRemovesNoOtherFolder(t *testing.T) {
	dir := t.TempDir()
	keep := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(keep, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&stage{options: options{dir: dir}}).freshDir(); err == nil {
		t.Error("a folder that is not of a demo was taken")
	}
	if _, err := os.Stat(keep); err != nil {
		t.Error(err)
	}
}
