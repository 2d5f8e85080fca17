package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	if err := errors.Join(fresh(path, false), fresh(path, true)); err != nil {
		t.Error(err)
	}
	if fresh(filepath.Join(t.TempDir(), "none"), false) == nil {
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

// TestGoals says of each row whether its goals were met, and of a peer that was not there that it was not measured.
func TestGoals(t *testing.T) {
	for _, test := range []struct {
		plain, watched time.Duration
		goals          []goal
		want           string
	}{
		{1000, 1064, []goal{{what: "<= 1.06", ratio: 1.06}}, "<= 1.06: met"}, // as it is printed
		{1000, 1066, []goal{{what: "<= 1.06", ratio: 1.06}}, "<= 1.06: MISSED"},
		{1000, 1200, []goal{{what: "<= 1.25", ratio: 1.25}, {what: "<= peer"}}, "<= 1.25, <= peer (not measured): met"},
		{1000, 1200, []goal{{what: "<= 1.25", ratio: 1.25}, {what: "<= peer", ratio: 1.1}}, "<= 1.25, <= peer: MISSED"},
		{time.Millisecond, 121 * time.Millisecond, []goal{{what: "<= 120 ms", time: 120 * time.Millisecond}}, "<= 120 ms: MISSED"},
		{1, 2, nil, "-"},
	} {
		var out strings.Builder
		b := table{out: &out}
		b.row("what", test.plain, test.watched, test.goals...)
		if !strings.HasSuffix(out.String(), "  "+test.want+"\n") {
			t.Errorf("%q does not say %q", out.String(), test.want)
		}
	}
}

// TestInterleave gives each the same number of turns, and nobody the same place.
func TestInterleave(t *testing.T) {
	var order []int
	turn := func(n int) func() (time.Duration, error) {
		return func() (time.Duration, error) { order = append(order, n); return time.Duration(n), nil }
	}
	m, err := interleave(3, turn(1), turn(2), turn(3))
	if err != nil || !slices.Equal(m, []time.Duration{1, 2, 3}) {
		t.Error(m, err)
	}
	if !slices.Equal(order, []int{1, 2, 3, 2, 3, 1, 3, 1, 2}) {
		t.Error(order)
	}
	if _, err := interleave(1, func() (time.Duration, error) { return 0, unix.EPERM }); !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
}
