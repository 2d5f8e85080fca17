package mounts_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/mounts"
)

// TestGone tells which numbers may stand for another file system, from one mount table to the next.
func TestGone(t *testing.T) {
	const (
		root   = "29 1 259:77 / / rw - ext4 /dev/vda rw\n"
		snap   = "40 29 7:5 / /snap/x/12 ro - squashfs /dev/loop5 ro\n"
		bound  = "41 29 7:5 / /elsewhere ro - squashfs /dev/loop5 ro\n"
		image  = "42 29 7:5 / /media/u/x rw - ext4 /dev/loop5 rw\n"
		image2 = "40 29 7:5 / /media/u/x rw - ext4 /dev/loop5 rw\n" // with the number of the mount that went
		layers = "50 29 0:50 / /var/c rw - overlay overlay rw,lowerdir=/a\n"
	)
	loop, layer, file, disk := unix.Mkdev(7, 5), unix.Mkdev(0, 50), unix.Mkdev(0, 51), unix.Mkdev(259, 77)
	for what, test := range map[string]struct {
		before, now string
		gone, stay  []uint64
	}{
		"nothing":                         {root + snap, root + snap, nil, []uint64{loop, disk}},
		"more":                            {root, root + snap, nil, []uint64{loop}},
		"unmounted":                       {root + snap, root, []uint64{loop}, []uint64{disk, file}},
		"another in its place":            {root + snap, root + image, []uint64{loop}, []uint64{disk}},
		"another with the mount's number": {root + snap, root + image2, []uint64{loop}, []uint64{disk}},
		"one of two mounts":               {root + snap + bound, root + bound, nil, []uint64{loop}},
		"changed in place":                {root + snap, root + "40 29 7:5 / /snap/x/12 rw,noexec - squashfs /dev/loop5 rw\n", nil, []uint64{loop}},
		"layers":                          {root + layers, root, []uint64{layer, file}, []uint64{disk, loop}},
	} {
		t.Run(what, func(t *testing.T) {
			var d mounts.Devices
			if gone := d.Update(mounts.Parse([]byte(test.before))); gone != nil {
				t.Error("something is gone of nothing")
			}
			gone := d.Update(mounts.Parse([]byte(test.now)))
			if (gone != nil) != (len(test.gone) > 0) {
				t.Fatal("gone, or not")
			}
			for _, n := range test.gone {
				if !gone(n) {
					t.Errorf("%d:%d is not gone", unix.Major(n), unix.Minor(n))
				}
			}
			for _, n := range test.stay {
				if gone != nil && gone(n) {
					t.Errorf("%d:%d is gone", unix.Major(n), unix.Minor(n))
				}
			}
			var st unix.Stat_t
			if err := unix.Stat("/usr", &st); err != nil || gone != nil && gone(uint64(st.Dev)) {
				t.Error("the system is gone", err)
			}
		})
	}
}
