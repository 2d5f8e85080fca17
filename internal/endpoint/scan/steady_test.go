package scan_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
)

// TestSteady knows file systems whose content may change below them: sticks, and images that somebody else than root may write, also below
// other devices.
func TestSteady(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for files of root")
	}
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sys := filepath.Join(dir, "sys")
	device := func(name string, minor uint32, files map[string]string, slaves ...string) uint64 {
		t.Helper()
		folder := filepath.Join(sys, "block", name)
		number := "240:" + strconv.Itoa(int(minor))
		files["dev"] = number
		for f, text := range files {
			path := filepath.Join(folder, f)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range slaves {
			if err := errors.Join(os.MkdirAll(filepath.Join(folder, "slaves"), 0o755), os.Symlink(filepath.Join(sys, "block", s), filepath.Join(folder, "slaves", s))); err != nil {
				t.Fatal(err)
			}
		}
		return unix.Mkdev(240, minor)
	}
	disk := device("disk", 1, map[string]string{"removable": "0"})
	stick := device("stick", 2, map[string]string{"removable": "1"})
	loop := device("loop", 3, map[string]string{"loop/backing_file": image + "\n"})
	crypt := device("crypt", 4, map[string]string{}, "loop")
	lost := device("lost", 5, map[string]string{"loop/backing_file": image + " (deleted)\n"})
	s := newScanner(t, scan.Options{Sys: sys, Workers: 1})
	check := func(what string, want map[uint64]bool) {
		t.Helper()
		for d, w := range want {
			if s.Steady(d) != w {
				t.Errorf("%s: device %d is steady: %v", what, unix.Minor(d), !w)
			}
		}
	}
	check("root's image", map[uint64]bool{disk: true, stick: false, loop: true, crypt: true, lost: false, unix.Mkdev(0, 77): true})
	if err := os.Chown(image, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	check("a user's image", map[uint64]bool{disk: true, loop: false, crypt: false})
	if s.MountsChanged(); s.Medium(stick) != "removable" || scan.Medium(sys, stick) != "removable" || s.Owner(0) != "root" {
		t.Error("the stick is not removable any more")
	}
}
