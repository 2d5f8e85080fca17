package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMedian(t *testing.T) {
	if m := median([]time.Duration{5, 1, 3}); m != 3 {
		t.Error(m)
	}
}

// TestOthers counts mounts of a type, by which fapolicyd is kept from what is not ours.
func TestOthers(t *testing.T) {
	table := "29 1 253:0 / / rw - ext4 /dev/vda rw\n30 1 0:4 / /x rw - ramfs none rw\n31 1 0:5 / /ramfs rw - tmpfs ramfs rw\n"
	if n := others(table, "ramfs"); n != 1 {
		t.Error(n)
	}
	if others(table, "xfs") != 0 {
		t.Error("xfs")
	}
}

func TestOnce(t *testing.T) {
	if _, err := once("/bin/true"); err != nil {
		t.Error(err)
	}
	if _, err := once(filepath.Join(t.TempDir(), "none")); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

func TestProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := program(path, os.Getuid(), []byte("more")); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(path).Run(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(fill(path, false), fill(path, true)); err != nil {
		t.Error(err)
	}
	if fill(filepath.Join(t.TempDir(), "none"), false) == nil {
		t.Error("read what is not there")
	}
}

func TestNeedsRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may")
	}
	if err := run(&strings.Builder{}, "none"); err == nil {
		t.Error("it ran")
	}
}

func TestSpent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if spent(self) <= 0 || spent("/none") != 0 {
		t.Error(spent(self))
	}
}
