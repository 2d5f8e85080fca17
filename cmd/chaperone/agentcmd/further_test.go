package agentcmd_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFurtherWays starts a messenger below another root, with the rights of its owner, as the interpreter of an interpreter, and behind holes that make
// it larger than one looks at in time, or than 32 bits count.
func TestFurtherWays(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	bad := f.program("bad", messenger)
	f.start()

	in := &exec.Cmd{Path: "/bad", Args: []string{"bad"}, SysProcAttr: &unix.SysProcAttr{Chroot: f.dir}}
	if err := in.Run(); !errors.Is(err, unix.EPERM) {
		t.Errorf("below another root: %v", err)
	}
	set := f.program("root-set", messenger)
	if err := os.Chmod(set, 0o4755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(f.work, 0o755), os.Chmod(filepath.Dir(f.work), 0o755)); err != nil {
		t.Fatal(err)
	}
	user := exec.Command(set)
	user.SysProcAttr = &unix.SysProcAttr{Credential: credential()}
	if err := user.Run(); !errors.Is(err, unix.EPERM) {
		t.Errorf("with the rights of its owner: %v", err)
	}
	first := f.write(filepath.Join(f.dir, "first"), "#!"+bad+"\n", 0o755)
	f.want(f.write(filepath.Join(f.dir, "second"), "#!"+first+"\n", 0o755), false)
	for name, hole := range map[string]int64{"hole": 40 << 20, "huge": 5 << 30} {
		path := f.program(name, "")
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteAt([]byte(messenger), hole)
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		f.want(path, false)
	}
	f.want(f.program("good", "x"), true)
}

// TestMountedWithoutAWorker mounts a file system while the worker stands still: what is on it does not start.
func TestMountedWithoutAWorker(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	f.start()
	f.standStill()
	dir := filepath.Join(f.work, "watched", "late")
	if err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mount("memory", dir, "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	bad := f.program(filepath.Join(dir, "bad"), messenger)
	f.eventually("watch over what is mounted", func() bool { return !f.starts(bad) }) // some milliseconds
	f.want(bad, false)
	f.recovers("after that")
	f.want(bad, false)
}
