package agentcmd_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

// TestNumberOfAnother has a program allowed, takes its file system away, and mounts another with the same device number, on which a messenger has the
// same inode, size and time of change, as whoever makes an image may choose.
func TestNumberOfAnother(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	f.start()
	image, dir, other := filepath.Join(f.work, "image"), filepath.Join(f.work, "watched", "image"), filepath.Join(f.work, "watched", "other")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.MkdirAll(other, 0o755), os.WriteFile(image, nil, 0o600), os.Truncate(image, 16<<20)); err != nil {
		t.Fatal(err)
	}
	harmless := strings.Repeat("h", len(messenger))
	f.run("mkfs.ext4", "-q", "-F", image)
	device := strings.TrimSpace(f.run("losetup", "-f", "--show", image))
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", device).Run() })
	f.run("mount", device, dir)
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	system, own := f.program(filepath.Join(dir, "system"), "x"+harmless), f.program(filepath.Join(dir, "own"), "y"+harmless)
	if err := errors.Join(os.Chown(system, 0, 0), os.Chown(own, 1000, 1000)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // their change is not fresh any more
	before := map[string]wire.Key{}
	for _, path := range []string{system, own} {
		f.want(path, true)
		f.want(path, true)
		before[filepath.Base(path)] = keyOf(t, path)
	}
	f.run("sh", "-c", "until umount "+dir+" 2>/dev/null; do sleep 0.05; done; losetup -d "+device)
	text, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	f.write(image, string(bytes.ReplaceAll(text, []byte(harmless), []byte(messenger))), 0o600)
	f.run("sh", "-c", "for i in $(seq 600); do losetup "+device+" "+image+" 2>/dev/null && exit; sleep 0.1; done; exit 1")
	f.run("mount", device, other)
	t.Cleanup(func() { _ = unix.Unmount(other, unix.MNT_DETACH) })
	probe := f.program(filepath.Join(other, "probe"), messenger)
	f.eventually("watch over what is mounted", func() bool { return !f.starts(probe) })
	for name, key := range before {
		path := filepath.Join(other, name)
		if now := keyOf(t, path); now != key {
			t.Fatalf("%s: %+v, and it was %+v", name, now, key)
		}
		if b, err := os.ReadFile(path); err != nil || !bytes.HasSuffix(b, []byte(messenger)) {
			t.Fatalf("%s is no messenger: %v", name, err)
		}
		f.want(path, false)
	}
}

func keyOf(t *testing.T, path string) wire.Key {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return wire.KeyOf(&st)
}
