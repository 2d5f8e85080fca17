package scan

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeSys is a sysfs with these files; a value that begins with "->" is a link.
func fakeSys(t *testing.T, files map[string]string) string {
	t.Helper()
	sys := t.TempDir()
	for name, body := range files {
		path := filepath.Join(sys, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, ok := strings.CutPrefix(body, "->"); ok {
			err = errors.Join(err, os.Symlink(filepath.Join(sys, target), path))
		} else {
			err = errors.Join(err, os.WriteFile(path, []byte(body+"\n"), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return sys
}

func TestMedium(t *testing.T) {
	sys := fakeSys(t, map[string]string{
		"devices/pci0/ata1/block/sda/removable":          "0",
		"devices/pci0/ata1/block/sda/dev":                "8:0",
		"devices/pci0/ata1/block/sda/sda1/partition":     "1",
		"devices/pci0/ata1/block/sda/sda1/dev":           "8:1",
		"devices/pci0/usb2/2-1/block/sdb/removable":      "0",
		"devices/pci0/usb2/2-1/block/sdb/sdb1/dev":       "8:17",
		"devices/pci0/ata2/block/sr0/removable":          "1",
		"devices/pci0/usbhid/block/sdc/removable":        "0",
		"devices/mmc0/block/mmcblk0/removable":           "0",
		"devices/mmc0/block/mmcblk0/device/type":         "SD",
		"devices/mmc1/block/mmcblk1/device/type":         "MMC",
		"devices/virtual/block/dm-0/removable":           "0",
		"devices/virtual/block/dm-0/slaves/sdb":          "->devices/pci0/usb2/2-1/block/sdb",
		"devices/virtual/block/dm-1/slaves/sda1":         "->devices/pci0/ata1/block/sda/sda1",
		"devices/virtual/block/dm-2/slaves/dm-2":         "->devices/virtual/block/dm-2",
		"dev/block/8:1":                                  "->devices/pci0/ata1/block/sda/sda1",
		"dev/block/8:17":                                 "->devices/pci0/usb2/2-1/block/sdb/sdb1",
		"dev/block/11:0":                                 "->devices/pci0/ata2/block/sr0",
		"dev/block/8:32":                                 "->devices/pci0/usbhid/block/sdc",
		"dev/block/179:0":                                "->devices/mmc0/block/mmcblk0",
		"dev/block/179:8":                                "->devices/mmc1/block/mmcblk1",
		"dev/block/253:0":                                "->devices/virtual/block/dm-0",
		"dev/block/253:1":                                "->devices/virtual/block/dm-1",
		"dev/block/253:2":                                "->devices/virtual/block/dm-2",
		"block/sda":                                      "->devices/pci0/ata1/block/sda",
		"devices/pci0/usb2/2-1/block/sdb/sdb1/partition": "1",
	})
	p := newPlaces(sys)
	p.mounts = filepath.Join(sys, "nothing")
	for _, c := range []struct {
		name         string
		major, minor uint32
		want         string
	}{
		{"partition of a disk", 8, 1, "fixed"}, {"partition of a disk on USB, which calls itself fixed", 8, 17, "removable"},
		{"disc", 11, 0, "removable"}, {"a folder that only begins like a bus", 8, 32, "fixed"}, {"memory card", 179, 0, "removable"},
		{"soldered memory", 179, 8, "fixed"}, {"encryption on a stick", 253, 0, "removable"}, {"encryption on a disk", 253, 1, "fixed"},
		{"a device on itself", 253, 2, "fixed"}, {"found without the list of numbers", 8, 0, "fixed"}, {"no device", 0, 55, ""},
	} {
		for range 2 { // the second answer is from memory
			if got := p.medium(unix.Mkdev(c.major, c.minor)); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		}
	}
}

func TestMountSource(t *testing.T) {
	table := "43 27 0:55 /home /home rw,relatime shared:1 - btrfs /dev/sdb1 rw\n44 27 0:56 / /tmp rw - tmpfs tmpfs rw\nnonsense\n45 1 0:57 / / rw - \n"
	for minor, want := range map[uint32]string{55: "/dev/sdb1", 56: "", 57: "", 58: ""} {
		if got := mountSource(strings.NewReader(table), unix.Mkdev(0, minor)); got != want {
			t.Errorf("0:%d: %q, want %q", minor, got, want)
		}
	}
}

func TestMountedElsewhere(t *testing.T) {
	p := newPlaces("")
	p.mounts = filepath.Join(t.TempDir(), "mountinfo")
	if err := os.WriteFile(p.mounts, []byte("43 27 0:55 / /x rw - btrfs /dev/null rw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := p.mounted(unix.Mkdev(0, 55)); got != 0 {
		t.Errorf("a device that holds no blocks: %d", got)
	}
	if got := p.medium(unix.Mkdev(0, 55)); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestOwner(t *testing.T) {
	p := newPlaces("")
	for range 2 {
		if got := p.owner(4_000_000_000); got != "4000000000" {
			t.Errorf("a user that has no name: %q", got)
		}
		if u, err := user.LookupId("0"); err == nil && p.owner(0) != u.Username {
			t.Errorf("root is %q", p.owner(0))
		}
	}
}
