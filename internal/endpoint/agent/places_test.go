package agent

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPlacesOfDevices tells that the number of a device is free again, once, after what had it was unmounted.
func TestPlacesOfDevices(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for mounts")
	}
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // which ends with this goroutine, and its mounts with it
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			t.Error(err)
			return
		}
		mount := func() (device uint64) {
			var st unix.Stat_t
			if err := unix.Mount("x", dir, "tmpfs", 0, ""); err != nil {
				t.Error(err)
			}
			if err := unix.Stat(dir, &st); err != nil {
				t.Error(err)
			}
			return uint64(st.Dev)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Error(err)
			return
		}
		p, err := newPlacesOf("/proc/thread-self/mountinfo")
		if err != nil {
			t.Error(err)
			return
		}
		defer p.table.close()
		if p.look() != nil {
			t.Error("nothing was unmounted")
		}
		device := mount()
		if p.look() != nil {
			t.Error("nothing was unmounted yet")
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
		if gone := p.look(); gone == nil || !gone(device) {
			t.Error("what was unmounted is not gone")
		}
		if p.look() != nil {
			t.Error("it is told twice")
		}
	}()
	<-done
}
