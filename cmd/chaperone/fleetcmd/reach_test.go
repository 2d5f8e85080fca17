//go:build linux

package fleetcmd

import (
	"slices"
	"testing"
)

func TestWithin(t *testing.T) {
	got := within([]string{"/home/nfs", "/homes/nfs", "/home", "/mnt", "/home/nfs"}, []string{"/home"})
	if !slices.Equal(got, []string{"/home/nfs"}) {
		t.Errorf("%q", got)
	}
	if got := within([]string{"/", "/mnt/a"}, []string{"/"}); !slices.Equal(got, []string{"/mnt/a"}) {
		t.Errorf("%q", got)
	}
}

// TestNotEntered: what the kernel makes up is left out where only local files are wanted, and other file systems where one is.
func TestNotEntered(t *testing.T) {
	for _, c := range []struct {
		reach reachFlags
		want  bool
	}{{reachFlags{}, false}, {reachFlags{Local: true}, true}, {reachFlags{OneFileSystem: true}, true}} {
		not, err := c.reach.notEntered([]string{"/"})
		if err != nil || slices.Contains(not, "/proc") != c.want || slices.Contains(not, "/") {
			t.Errorf("%+v: %q, %v", c.reach, not, err)
		}
	}
}
