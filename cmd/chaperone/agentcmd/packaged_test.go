package agentcmd_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/event"
)

// packageField is a field whose /opt is watched, and whose package managers know of nothing.
func packageField(t *testing.T) *field {
	t.Helper()
	f := newField(t)
	opt := filepath.Join(f.dir, "opt")
	if err := os.MkdirAll(opt, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, m := range [][3]string{{"tmpfs", "/var/lib", "tmpfs"}, {opt, "/opt", ""}} {
		flags := uintptr(0)
		if m[2] == "" {
			flags = unix.MS_BIND
		}
		if err := unix.Mount(m[0], m[1], m[2], flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"info", "updates", "triggers"} {
		if err := os.MkdirAll(filepath.Join("/var/lib/dpkg", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f.write("/var/lib/dpkg/status", "", 0o644)
	f.write("/var/lib/dpkg/available", "", 0o644)
	return f
}

// deb makes a package of /opt/zoom/zoom, which says nothing of what it is.
func (f *field) deb(name, version string) string {
	f.t.Helper()
	tree := filepath.Join(f.work, name+"-"+version)
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: a test <test@example.org>\nDescription: of a test\n", name, version)
	if err := errors.Join(os.MkdirAll(filepath.Join(tree, "DEBIAN"), 0o755), os.MkdirAll(filepath.Join(tree, "opt/zoom"), 0o755)); err != nil {
		f.t.Fatal(err)
	}
	f.write(filepath.Join(tree, "DEBIAN/control"), control, 0o644)
	f.program(filepath.Join(tree, "opt/zoom/zoom"), "version "+version)
	path := tree + ".deb"
	f.run("dpkg-deb", "--root-owner-group", "-b", tree, path)
	return path
}

func (f *field) dpkg(args ...string) {
	f.t.Helper()
	f.run("dpkg", append([]string{"--log=" + filepath.Join(f.work, "dpkg.log"), "--force-not-root", "--force-bad-path"}, args...)...)
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CHAPERONE_CI") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

// TestPackage installs a real package of dpkg that the catalog knows by its name alone: its program does not start, from the first start on, also
// by another path, while no worker decides, after an upgrade of the package; a copy of a user and the same program of another package do.
func TestPackage(t *testing.T) {
	needs(t, "dpkg", "dpkg-deb")
	if !namespace(t) {
		return
	}
	f := packageField(t)
	const program = "/opt/zoom/zoom"
	first, second, other := f.deb("zoom", "1"), f.deb("zoom", "2"), f.deb("another", "3")
	good := f.program("good", "")
	f.start()
	f.dpkg("-i", other)
	f.want(program, true)
	f.dpkg("-r", "another")
	f.dpkg("-i", first)
	for range 3 {
		f.want(program, false)
	}
	f.want(f.copyOf(program, "copy"), true)
	f.want(good, true)
	e := f.spooled("refusal", func(e *event.Event) bool {
		return e.Kind == event.ProgramRun && e.Program.Path == program && e.Program.App != ""
	},
		func() { f.want(program, false) })
	if e.Program.App != "zoom" || e.Program.SHA256 == "" || !strings.HasPrefix(e.Evidence[0].Fact, "deb:") {
		t.Errorf("%+v %+v", e.Program, e.Evidence)
	}
	script := `mount --bind /opt/zoom /mnt && ! /mnt/zoom`
	if out, err := exec.Command("unshare", "-U", "-r", "-m", "sh", "-c", script).CombinedOutput(); !strings.Contains(string(out), "unshare failed") &&
		(err != nil || !strings.Contains(string(out), "not permitted")) {
		t.Errorf("in another mount namespace: %v\n%s", err, out)
	}
	f.survives(program, good)
	f.dpkg("-i", second)
	f.want(program, false)
	f.want(f.copyOf(program, "copy of the second"), true)
	f.survives(program, good)
}

// survives kills the worker: a messenger does not start, before the next one decides and then; and what was allowed before needs none.
func (f *field) survives(bad, good string) {
	f.t.Helper()
	time.Sleep(1100 * time.Millisecond) // its change is not fresh any more
	f.want(good, true)
	for _, pid := range f.workers() {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	f.want(bad, false)
	f.recovers(fmt.Sprint("after a kill ", time.Now()))
	f.want(bad, false)
	stopped := f.workers()
	for _, pid := range stopped {
		_ = unix.Kill(pid, unix.SIGSTOP)
		for end := time.Now().Add(2 * time.Minute); !stands(pid) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
	}
	if !f.starts(good) || len(stopped) == 0 || !stands(stopped[0]) {
		f.t.Error("what was allowed before the kill does not start without the next worker")
	}
	f.recovers(fmt.Sprint("after a stop ", time.Now()))
}

// TestListedLater starts a program that says nothing of a messenger. It starts, the kernel is told not to ask again, and then a package that the
// catalog names lists it: it does not start, until the package is gone.
func TestListedLater(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := packageField(t)
	f.start()
	program := f.program("root-client", "nothing")
	for range 3 {
		f.want(program, true)
	}
	list := f.write("/var/lib/dpkg/info/viber:amd64.list", "/.\n"+program+"\n", 0o644)
	f.becomes(program, false)
	f.want(program, false)
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	f.becomes(program, true)
}

// becomes waits until a program starts, or does not any more.
func (f *field) becomes(path string, start bool) {
	f.t.Helper()
	for end := time.Now().Add(2 * time.Minute); f.starts(path) != start; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("%s: started %v for too long", path, !start)
		}
	}
}
