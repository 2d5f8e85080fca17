package mounts_test

import (
	"os"
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/mounts"
)

func TestParse(t *testing.T) {
	got := mounts.Parse([]byte(`29 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
31 29 8:17 /a\040folder /media/my\040stick ro,nosuid - vfat /dev/sdb1 rw,fmask=0022
32 29 0:40 / /net rw,noexec - nfs4 server:/x ro,vers=4.2
broken line
33 29 0:41 / /x rw - tmpfs
`))
	want := []mounts.Mount{
		{Device: "253:0", Point: "/", Kind: "ext4", Source: "/dev/vda", Writable: true, ID: "29 1 /", Root: "/"},
		{Device: "8:17", Point: "/media/my stick", Kind: "vfat", Source: "/dev/sdb1", Writable: true, ID: `31 29 /a\040folder`, Root: "/a folder"},
		{Device: "0:40", Point: "/net", Kind: "nfs4", Source: "server:/x", NoExec: true, ID: "32 29 /", Root: "/"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestLocal(t *testing.T) {
	for kind, want := range map[string]bool{"ext4": true, "vfat": true, "tmpfs": true, "overlay": true, "devtmpfs": true, "proc": false, "nfs4": false,
		"fuse": false, "fuse.sshfs": false, "fuseblk": false, "cgroup2": false} {
		if mounts.Local(kind) != want {
			t.Errorf("%s: %v", kind, !want)
		}
	}
}

func TestThisMachine(t *testing.T) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(mounts.Parse(b), func(m mounts.Mount) bool { return m.Point == "/" }) {
		t.Error("no root")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("29 1 253:0 / / rw shared:1 - ext4 /dev/vda rw\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range mounts.Parse(b) {
			if m.Device == "" || m.Kind == "" {
				t.Errorf("%+v", m)
			}
		}
	})
}
