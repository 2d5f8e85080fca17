package fleetcmd

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/mounts"
)

// notEntered are the places below some roots where other file systems are mounted that the scan does not enter.
func (r reachFlags) notEntered(roots []string) ([]string, error) {
	if !r.OneFileSystem && !r.Local {
		return nil, nil
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var far []string
	for _, m := range mounts.Parse(table) {
		if r.OneFileSystem && !onDeviceOf(m.Point, roots) || r.Local && !mounts.Local(m.Kind) && m.Kind != "fuseblk" {
			far = append(far, m.Point)
		}
	}
	return within(far, roots), nil
}

// onDeviceOf reports whether a place is on the file system of a root that it lies in.
func onDeviceOf(point string, roots []string) bool {
	var at, root unix.Stat_t
	if unix.Lstat(point, &at) != nil {
		return false
	}
	for _, r := range roots {
		if len(within([]string{point}, []string{r})) > 0 && unix.Lstat(r, &root) == nil && root.Dev == at.Dev {
			return true
		}
	}
	return false
}
