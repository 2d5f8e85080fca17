package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/inspect/malware/clamdtest"
)

// TestPlay plays the whole story, with the real program, Prosody and clamd.
func TestPlay(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "chaperone")
	build := exec.Command("go", "build", "-o", bin, "../chaperone")
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
	build := exec.Command("go", "build", "-o", bin, "../chaperone")
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
	if err := s.start(); err != nil || !strings.Contains(out.String(), "left out") {
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
