package mounts

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Devices remembers which numbers of devices stand for which file systems. The zero value knows none.
type Devices struct {
	mounts map[string]map[Mount]struct{} // of each device
	stay   []uint64
}

// Update takes the mount table of now. It returns what tells the numbers of devices that may stand for another file system since the last one: the
// kernel gives numbers again, and whoever may mount an image of his own, as a desktop's user, chose what the status of a file in it says. Nil says
// that there are none.
func (d *Devices) Update(table []Mount) (gone func(device uint64) bool) {
	now := map[string]map[Mount]struct{}{}
	for _, m := range table {
		if now[m.Device] == nil {
			now[m.Device] = map[Mount]struct{}{}
		}
		m.Writable, m.NoExec = false, false // of a mount that is changed in place
		now[m.Device][m] = struct{}{}
	}
	before := d.mounts
	d.mounts = now
	numbers, unnamed := map[uint64]bool{}, false
	for device, mounts := range before {
		if kept(mounts, now[device]) {
			continue
		}
		for m := range mounts {
			unnamed = unnamed || m.Kind == "btrfs" || m.Kind == "overlay" // the numbers of their files are in no mount table
		}
		if n, ok := number(device); ok {
			numbers[n] = true
		}
	}
	if d.stay == nil {
		d.stay = Numbers("/", "/usr") // do not go while the machine runs
	}
	if len(numbers) == 0 {
		return nil
	}
	return func(device uint64) bool {
		return numbers[device] || unnamed && unix.Major(device) == 0 && !slices.Contains(d.stay, device)
	}
}

// kept reports whether one of the mounts is still there.
func kept(before, now map[Mount]struct{}) bool {
	for m := range before {
		if _, ok := now[m]; ok {
			return true
		}
	}
	return false
}

// Numbers are the numbers of devices that files bear, of those that are there.
func Numbers(paths ...string) []uint64 {
	out := []uint64{}
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil {
			out = append(out, uint64(st.Dev))
		}
	}
	return out
}

// number is what stat(2) says of a device.
func number(device string) (uint64, bool) {
	major, minor, _ := strings.Cut(device, ":")
	a, err1 := strconv.ParseUint(major, 10, 32)
	b, err2 := strconv.ParseUint(minor, 10, 32)
	return unix.Mkdev(uint32(a), uint32(b)), err1 == nil && err2 == nil
}
