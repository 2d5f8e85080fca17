package harden_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden"
)

// tree is all files of a folder, with modes and content.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var text []byte
		if !d.IsDir() {
			text, err = os.ReadFile(path)
		}
		out = append(out, info.Mode().String()+" "+path+" "+string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSwitch applies each part and takes it back: then everything is as it was, also where the file was there before and belonged to somebody.
func TestSwitch(t *testing.T) {
	for _, before := range []string{"", "# mine\n"} {
		root := machine(t, map[string]string{"sys/vm/memfd_noexec": "0\n", "sys/user/max_user_namespaces": "127000\n"})
		if before != "" {
			for _, f := range []string{"etc/sysctl.d/99-chaperone-memfd.conf", "etc/sysctl.d/99-chaperone-namespaces.conf", "etc/udev/rules.d/99-chaperone-noexec.rules"} {
				path := filepath.Join(root, f)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(before), 0o640)); err != nil {
					t.Fatal(err)
				}
			}
		} else if err := os.MkdirAll(filepath.Join(root, "etc/udev"), 0o755); err != nil {
			t.Fatal(err)
		}
		was := tree(t, root)
		s := harden.NewSwitch(root, filepath.Join(t.TempDir(), "kept"))
		parts := slices.DeleteFunc(harden.Parts(), func(p harden.Part) bool { return p == harden.KernelPrograms }) // for which a real kernel is needed: see lsm
		for _, p := range parts {
			if _, err := s.Applied(p); !errors.Is(err, harden.ErrNot) {
				t.Errorf("%s: %v", p, err)
			}
			unplanned := tree(t, root)
			c, err := s.Plan(p)
			if err != nil {
				t.Fatal(err)
			}
			if now := tree(t, root); !slices.Equal(now, unplanned) {
				t.Errorf("a plan of %s changed something", p)
			}
			if err := s.Apply(c); err != nil {
				t.Fatal(err)
			}
			if text, err := os.ReadFile(filepath.Join(root, c.File)); err != nil || string(text) != c.Text {
				t.Errorf("%s: %q, %v", p, text, err)
			}
			if _, err := s.Plan(p); !errors.Is(err, harden.ErrApplied) {
				t.Errorf("%s twice: %v", p, err)
			}
		}
		for _, set := range harden.Settings(root, func(string) bool { return false })[:2] {
			if !set.Closed {
				t.Errorf("%s is open: %s", set.Name, set.What)
			}
		}
		for _, p := range slices.Backward(parts) { // a folder that the first made is gone with the last
			if lasting, err := s.Undo(p); err != nil || lasting {
				t.Errorf("%s: %v, %v", p, lasting, err)
			}
			if _, err := s.Undo(p); !errors.Is(err, harden.ErrNot) {
				t.Errorf("%s twice: %v", p, err)
			}
		}
		if now := tree(t, root); !slices.Equal(now, was) {
			t.Errorf("before\n%s\nafter\n%s", strings.Join(was, "\n"), strings.Join(now, "\n"))
		}
	}
}

// TestUndoRefusesWhatSomebodyChanged leaves both the change and what is known of the state before.
func TestUndoRefusesWhatSomebodyChanged(t *testing.T) {
	for _, change := range []string{"etc/sysctl.d/99-chaperone-namespaces.conf", "proc/sys/user/max_user_namespaces"} {
		root := machine(t, map[string]string{"sys/user/max_user_namespaces": "127000\n"})
		s := harden.NewSwitch(root, t.TempDir())
		c, err := s.Plan(harden.Namespaces)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Apply(c), os.WriteFile(filepath.Join(root, change), []byte("17\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Undo(harden.Namespaces); !errors.Is(err, harden.ErrChanged) {
			t.Errorf("%s: %v", change, err)
		}
		if _, err := s.Applied(harden.Namespaces); err != nil {
			t.Error(err)
		}
	}
}

// TestPlanSaysWhatCannotBe does so before anything is changed.
func TestPlanSaysWhatCannotBe(t *testing.T) {
	s := harden.NewSwitch(machine(t, nil), t.TempDir())
	for p, want := range map[harden.Part]error{harden.Memory: harden.ErrAbsent, "nonsense": harden.ErrPart} {
		if _, err := s.Plan(p); !errors.Is(err, want) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// TestApplyThatFails leaves nothing behind.
func TestApplyThatFails(t *testing.T) {
	root := machine(t, map[string]string{"sys/user/max_user_namespaces": "127000\n"})
	s := harden.NewSwitch(root, filepath.Join(t.TempDir(), "kept"))
	c, err := s.Plan(harden.Namespaces)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(root, "proc")), os.Mkdir(filepath.Join(root, "etc"), 0o755)); err != nil {
		t.Fatal(err)
	}
	was := tree(t, root)
	if err := s.Apply(c); err == nil {
		t.Error("it was applied")
	}
	if now := tree(t, root); !slices.Equal(now, was) {
		t.Errorf("left behind: %v", now)
	}
	if _, err := s.Applied(harden.Namespaces); !errors.Is(err, harden.ErrNot) {
		t.Error(err)
	}
}

// TestOthers names files that set the same, in either spelling.
func TestOthers(t *testing.T) {
	root := machine(t, map[string]string{"sys/user/max_user_namespaces": "127000\n"})
	for name, text := range map[string]string{"etc/sysctl.d/zz.conf": "# x\n-user/max_user_namespaces=5\n", "etc/sysctl.conf": "user.max_user_namespaces = 5\n",
		"usr/lib/sysctl.d/50.conf": "user.max_mnt_namespaces = 5\n#user.max_user_namespaces = 5\n"} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s := harden.NewSwitch(root, t.TempDir())
	c, err := s.Plan(harden.Namespaces)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Others(c); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

const inside = "CHAPERONE_TEST_NAMESPACE"

// TestThisKernel switches the settings of the kernel that this runs on, which belong to the user and process namespaces that the test makes
// for itself.
func TestThisKernel(t *testing.T) {
	if os.Getenv(inside) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestThisKernel$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		id := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		gid := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS, UidMappings: id, GidMappings: gid, Pdeathsig: unix.SIGKILL}
		out, err := cmd.CombinedOutput()
		if t.Logf("%s", out); errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
			t.Skipf("no user namespaces here: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
		return
	}
	root := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(root, "proc"), 0o755), unix.Mount("proc", filepath.Join(root, "proc"), "proc", 0, "")); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(filepath.Join(root, "proc"), unix.MNT_DETACH) }()
	s := harden.NewSwitch(root, t.TempDir())
	for _, p := range []harden.Part{harden.Memory, harden.Namespaces} {
		c, err := s.Plan(p)
		if errors.Is(err, harden.ErrAbsent) {
			t.Logf("%s: %v", p, err)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(c); errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			t.Logf("%s: this namespace may not: %v", p, err)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		closed := 0
		for _, set := range harden.Settings(root, func(string) bool { return false }) {
			if set.Part == p && set.Closed {
				closed++
			}
		}
		if closed != 1 {
			t.Errorf("%s is still open", p)
		}
		lasting, err := s.Undo(p)
		b, err2 := os.ReadFile(filepath.Join(root, "proc/sys", c.Name))
		if err := errors.Join(err, err2); err != nil {
			t.Error(err)
		}
		if now := strings.TrimSpace(string(b)); now != c.From && !lasting {
			t.Errorf("%s was %s and is %s", p, c.From, now)
		}
		t.Logf("%s: %s, %s, back", p, c.From, c.To)
	}
}
