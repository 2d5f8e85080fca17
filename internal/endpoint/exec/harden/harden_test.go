package harden_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden"
)

func machine(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, "proc", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestPrograms says of a machine that cannot have them why. What they do is tried in lsm.
func TestPrograms(t *testing.T) {
	for text, want := range map[string]string{"lockdown,capability,bpf\n": "does not describe itself", "capability,bpfx\n": "without the module for them (lsm=capability,bpfx)", "": "does not tell"} {
		root := t.TempDir()
		path := filepath.Join(root, "sys/kernel/security/lsm")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		all := harden.Settings(root, func(string) bool { return false })
		got := all[len(all)-1]
		if got.Part != harden.KernelPrograms || got.Closed || !got.Absent || !strings.Contains(got.What, want) {
			t.Errorf("%q: %+v", text, got)
		}
		if _, err := harden.NewSwitch(root, t.TempDir()).Plan(harden.KernelPrograms); !errors.Is(err, harden.ErrAbsent) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestProgramsCloseTheSame does not warn twice: where they are in force, the settings that they stand for are closed.
func TestProgramsCloseTheSame(t *testing.T) {
	root := machine(t, map[string]string{"sys/vm/memfd_noexec": "0\n", "sys/user/max_user_namespaces": "127000\n", "self/mountinfo": ""})
	held := filepath.Join(root, "sys/fs/bpf/chaperone/exec-1/link")
	if err := errors.Join(os.MkdirAll(filepath.Dir(held), 0o755), os.WriteFile(held, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, s := range harden.Settings(root, func(string) bool { return false }) {
		if !s.Closed || s.Part != harden.Media && s.Part != harden.KernelPrograms && !strings.Contains(s.What, "programs in the kernel") {
			t.Errorf("%+v", s)
		}
	}
}

func TestSettings(t *testing.T) {
	const stick = "31 29 8:17 / /media/stick rw,nosuid%s - vfat /dev/sdb1 rw\n"
	for _, test := range []struct {
		name   string
		files  map[string]string
		closed [4]bool
		what   string
	}{
		{"as distributions ship it", map[string]string{"sys/vm/memfd_noexec": "0\n", "sys/user/max_user_namespaces": "127000\n",
			"self/mountinfo": strings.ReplaceAll(stick, "%s", "")}, [4]bool{}, "/media/stick"},
		{"hardened", map[string]string{"sys/vm/memfd_noexec": "2\n", "sys/user/max_user_namespaces": "0\n",
			"self/mountinfo": strings.ReplaceAll(stick, "%s", ",noexec")}, [4]bool{true, true, true}, "0"},
		{"old Debian", map[string]string{"sys/user/max_user_namespaces": "127000", "sys/kernel/unprivileged_userns_clone": "0",
			"self/mountinfo": ""}, [4]bool{false, true, true}, "unprivileged_userns_clone=0"},
		{"Ubuntu", map[string]string{"sys/vm/memfd_noexec": "1", "sys/user/max_user_namespaces": "127000", "sys/kernel/apparmor_restrict_unprivileged_userns": "1",
			"self/mountinfo": ""}, [4]bool{false, true, true}, "apparmor"},
		{"nothing to read", nil, [4]bool{false, true, true}, "does not have it"},
	} {
		got := harden.Settings(machine(t, test.files), func(device string) bool { return device == "8:17" })
		var all string
		for i, s := range got {
			if s.Closed != test.closed[i] || s.Why == "" || s.Do == "" {
				t.Errorf("%s: %+v", test.name, s)
			}
			all += s.What + " "
		}
		if !strings.Contains(all, test.what) {
			t.Errorf("%s: %s", test.name, all)
		}
	}
}
