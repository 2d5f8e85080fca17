package quarantine_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
)

// TestRemoveAndUndo removes a package with the real dpkg, which has a database of its own here, and brings it back from what was kept: files, owners,
// modes, times, links, a configuration that somebody changed, and scripts.
func TestRemoveAndUndo(t *testing.T) {
	for _, program := range []string{"dpkg", "dpkg-deb", "tar"} {
		if _, err := exec.LookPath(program); err != nil || os.Geteuid() != 0 {
			if os.Getenv("CHAPERONE_CI") == "1" {
				t.Fatal("needs root and dpkg")
			}
			t.Skip("needs root and dpkg")
		}
	}
	dir := realTemp(t)
	base, tree := filepath.Join(dir, "machine"), filepath.Join(dir, "tree")
	inside := filepath.Join(tree, base)
	admin := filepath.Join(dir, "dpkg")
	t.Setenv("DPKG_ADMINDIR", admin)
	put := func(path, text string, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	command := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	for _, d := range []string{base, filepath.Join(admin, "info"), filepath.Join(admin, "updates"), filepath.Join(admin, "triggers")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(filepath.Join(admin, "status"), "", 0o644)
	put(filepath.Join(tree, "DEBIAN", "control"), "Package: odd-messenger\nVersion: 1:2.0~rc1-3\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: one\n more\n .\n and more\n", 0o644)
	put(filepath.Join(tree, "DEBIAN", "conffiles"), base+"/etc/odd.conf\n", 0o644)
	put(filepath.Join(tree, "DEBIAN", "postinst"), "#!/bin/sh\necho \"$1\" >>"+dir+"/scripts\n", 0o755)
	put(filepath.Join(inside, "bin", "odd"), "a messenger", 0o4750)
	put(filepath.Join(inside, "etc", "odd.conf"), "as it came", 0o640)
	put(filepath.Join(inside, "share", "with blank\u00e9"), "x", 0o600)
	old := time.Date(2020, 3, 4, 5, 6, 7, 0, time.UTC)
	if err := errors.Join(os.Symlink("odd", filepath.Join(inside, "bin", "link")), os.Chown(filepath.Join(inside, "bin", "odd"), 1234, 4321),
		os.Chmod(filepath.Join(inside, "bin", "odd"), 0o4750|fs.ModeSetuid), os.Chtimes(filepath.Join(inside, "bin", "odd"), old, old)); err != nil {
		t.Fatal(err)
	}
	command("dpkg-deb", "--build", tree, filepath.Join(dir, "odd.deb"))
	command("dpkg", "--install", filepath.Join(dir, "odd.deb"))
	put(filepath.Join(base, "etc", "odd.conf"), "as somebody wants it", 0o640)
	before := all(t, base)
	if !strings.Contains(before, "odd.conf") || !strings.Contains(before, "1234") {
		t.Fatal(before)
	}

	mask := unix.Umask(0o077) // as in the unit
	defer unix.Umask(mask)
	s := open(t, realTemp(t), quarantine.Options{})
	path := filepath.Join(base, "bin", "odd")
	o, ok := quarantine.OwnerOf(t.Context(), path)
	if !ok || o.Package != "odd-messenger" {
		t.Fatalf("%+v, %v", o, ok)
	}
	if err := s.Remove(t.Context(), o, quarantine.Target{Path: path}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("it was not removed", err)
	}
	if left, err := os.ReadDir(filepath.Join(s.Dir(), "packages")); err != nil || len(left) != 1 {
		t.Errorf("%v lie beside the copy, %v", left, err)
	}
	undo := strings.Fields(o.Undo(s.Dir()))
	command(undo[0], undo[1:]...)
	if after := all(t, base); after != before {
		t.Errorf("it came back as\n%s, was\n%s", after, before)
	}
	if said, err := os.ReadFile(filepath.Join(dir, "scripts")); err != nil || strings.Count(string(said), "configure") != 2 {
		t.Errorf("the script ran with %q, %v", said, err)
	}
}

// all lists what is below a folder, with all that is to come back.
func all(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s %o %d:%d", path, st.Mode, st.Uid, st.Gid)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %d %q", st.Mtim.Sec, b)
		case unix.S_IFLNK:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			out.WriteString(" -> " + to)
		}
		out.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestKeepFails removes no package of which no copy can be made.
func TestKeepFails(t *testing.T) {
	manager(t, "dpkg-query", "exit 1")
	calls := manager(t, "dpkg", "exit 0")
	s := open(t, realTemp(t), quarantine.Options{})
	err := s.Remove(t.Context(), quarantine.Owner{Manager: quarantine.Dpkg, Package: "odd", Version: "1"}, quarantine.Target{})
	if err == nil || !strings.Contains(err.Error(), "not removed") || called(t, calls) != "" {
		t.Errorf("%v, called %q", err, called(t, calls))
	}
}
