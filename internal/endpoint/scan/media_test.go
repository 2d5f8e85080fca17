package scan_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// absent ends a test for which this machine lacks something: skipped, but in CI it fails.
func absent(t *testing.T, why ...any) {
	t.Helper()
	if os.Getenv("CHAPERONE_CI") == "1" {
		t.Fatal(why...)
	}
	t.Skip(why...)
}

// mountLoop mounts a new file system on a loop device, and takes both away at the end.
func mountLoop(t *testing.T) (mount, loop string) {
	t.Helper()
	if os.Geteuid() != 0 {
		absent(t, "mounting needs root")
	}
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "mount")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 8<<20), os.Mkdir(mount, 0o755)); err != nil {
		t.Fatal(err)
	}
	command(t, dir, "mkfs.ext4", "-q", image)
	out, err := exec.Command(need(t, "losetup"), "--find", "--show", image).CombinedOutput()
	if err != nil {
		absent(t, "no loop device: ", string(out))
	}
	loop = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", loop).CombinedOutput(); err != nil {
			t.Errorf("losetup: %v, %s", err, out)
		}
	})
	if err := unix.Mount(loop, mount, "ext4", unix.MS_NOSUID, ""); err != nil {
		absent(t, "mount: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	return mount, loop
}

// sticks forbids programs on removable media, as people write it.
func sticks(t *testing.T) policy.Decider {
	t.Helper()
	f, err := policy.Parse("sticks.yaml", []byte("version: 1\nrules:\n  - {id: sticks, programs: {media: removable}, verdict: block}\notherwise: {programs: allow}\n"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(f, policy.Known{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRemovableMedia applies a rule about removable media to a file system that is mounted from a real device. The device is a loop, which
// is fixed; a copy of what the kernel says of it that differs in that one word makes it a stick.
func TestRemovableMedia(t *testing.T) {
	mount, loop := mountLoop(t)
	write(t, filepath.Join(mount, "tool.exe"), programtest.PE(map[string]string{"ProductName": "Some Tool"}))
	if err := os.Chown(filepath.Join(mount, "tool.exe"), 4_000_000_000, 0); err != nil {
		t.Fatal(err)
	}
	r := run(t, scan.Options{Policy: sticks(t)}, mount)
	if len(r.findings) != 0 {
		t.Errorf("on a fixed device: %q", r.order)
	}
	var st unix.Stat_t
	if err := unix.Stat(loop, &st); err != nil {
		t.Fatal(err)
	}
	sys := t.TempDir()
	device := filepath.Join(sys, "dev/block", fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))))
	write(t, filepath.Join(device, "removable"), []byte("1\n"))
	r = run(t, scan.Options{Policy: sticks(t), Sys: sys}, mount)
	f := r.findings["tool.exe"]
	if f == nil || f.Event.Verdict.Rule != "sticks" || f.Event.Program.Media != "removable" || f.Event.Program.Owner != "4000000000" || f.Event.Program.App != "" {
		t.Fatalf("on a removable device: %q, %+v", r.order, f)
	}
	if !f.Certain() {
		t.Error("a rule about the medium needs no recognition")
	}
}

// TestMemoryIsNoMedium has no device at all.
func TestMemoryIsNoMedium(t *testing.T) {
	if os.Geteuid() != 0 {
		absent(t, "mounting needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		absent(t, "mount: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	write(t, filepath.Join(dir, "real.exe"), programtest.PE(map[string]string{"ProductName": "Signal", "CompanyName": "Signal Messenger, LLC"}))
	if f := run(t, scan.Options{}, dir).findings["real.exe"]; f == nil || f.Event.Program.Media != "" || f.Event.Program.Owner == "" {
		t.Errorf("got %+v", f)
	}
}
