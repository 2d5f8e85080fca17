// Package updatetest gives tests a machine to throw away: this one, as a layer over it shows it, with its own dpkg database. What packages do there
// ends with the process.
package updatetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Inside is the variable of the environment that says to a process in a namespace of its own that it is to enter the machine.
const Inside = "CHAPERONE_UPDATE_INSIDE"

// Enter makes the machine and goes there, when the environment says so: it is called first of all in TestMain.
func Enter() error {
	dir := os.Getenv(Inside)
	if dir == "" {
		return nil
	}
	root := filepath.Join(dir, "root")
	layer := "lowerdir=/,upperdir=" + dir + "/up/upper,workdir=" + dir + "/up/work"
	steps := []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return os.MkdirAll(dir+"/up", 0o755) },
		func() error { return unix.Mount("update", dir+"/up", "tmpfs", 0, "size=2g,mode=0755") },
		func() error {
			return errors.Join(os.Mkdir(dir+"/up/upper", 0o755), os.Mkdir(dir+"/up/work", 0o755), os.MkdirAll(root, 0o755))
		},
		func() error { return unix.Mount("update", root, "overlay", 0, layer) },
		func() error { return unix.Mount("/proc", root+"/proc", "", unix.MS_BIND|unix.MS_REC, "") },
		func() error { return unix.Mount("/dev", root+"/dev", "", unix.MS_BIND|unix.MS_REC, "") },
		func() error { return unix.Mount("run", root+"/run", "tmpfs", 0, "mode=0755") }, // no systemd there
		func() error { return unix.Mount("tmp", root+"/tmp", "tmpfs", 0, "mode=1777") },
		func() error { return unix.Chroot(root) },
		func() error { return os.Chdir("/tmp") },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d into the machine: %w", i, err)
		}
	}
	return errors.Join(os.Unsetenv(Inside), os.Setenv("TMPDIR", "/tmp"))
}

// Run runs one test of this binary on the machine, with what it needs there; it is skipped where there is none.
func Run(t *testing.T, name string, env ...string) {
	t.Helper()
	lacking := ""
	if os.Geteuid() != 0 {
		lacking = "needs root, for a mount namespace"
	} else if _, err := os.Stat("/usr/bin/dpkg"); err != nil {
		lacking = "needs dpkg"
	}
	if lacking != "" {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(lacking)
		}
		t.Skip(lacking)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+name+"$", "-test.v", "-test.count=1")
	cmd.Env = append(append(os.Environ(), Inside+"="+t.TempDir()), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// Deb makes a package of this program in dir: the files, by the path that each is to have, are copied from those named.
func Deb(ctx context.Context, dir, name, version, architecture string, files map[string]string) (string, error) {
	tree, err := os.MkdirTemp(dir, "tree-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tree)
	if err := errors.Join(os.Chmod(tree, 0o755), os.Mkdir(tree+"/DEBIAN", 0o755)); err != nil {
		return "", err
	}
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: Tests <tests@chaperone.invalid>\nDescription: a package of tests\n", name, version, architecture)
	if err := os.WriteFile(tree+"/DEBIAN/control", []byte(control), 0o644); err != nil {
		return "", err
	}
	for path, from := range files {
		to := filepath.Join(tree, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return "", err
		}
		if out, err := exec.CommandContext(ctx, "cp", "--dereference", "--", from, to).CombinedOutput(); err != nil {
			return "", fmt.Errorf("cp: %w: %s", err, out)
		}
		mode := os.FileMode(0o755)
		if filepath.Dir(path) == "/DEBIAN" && filepath.Base(path) == "conffiles" {
			mode = 0o644
		}
		if err := os.Chmod(to, mode); err != nil {
			return "", err
		}
	}
	out := filepath.Join(dir, fmt.Sprintf("%s_%s_%s.deb", name, version, architecture))
	if said, err := exec.CommandContext(ctx, "dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", tree, out).CombinedOutput(); err != nil {
		return "", fmt.Errorf("dpkg-deb: %w: %s", err, said)
	}
	return out, nil
}
