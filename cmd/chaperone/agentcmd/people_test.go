package agentcmd_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/event"
)

// spooled waits for an event in the agent's spool: without keys in the data directory everything stays there.
// Meanwhile something may be done again and again.
func (f *field) spooled(what string, is func(*event.Event) bool, meanwhile ...func()) *event.Event {
	f.t.Helper()
	path := filepath.Join(f.work, "data", "agent", "spool", "spool.jsonl")
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		b, _ := os.ReadFile(path)
		for line := range strings.Lines(string(b)) {
			e := &event.Event{}
			if json.Unmarshal([]byte(line), e) == nil && is(e) {
				return e
			}
		}
		if time.Now().After(end) {
			f.t.Fatalf("no %s in the spool:\n%s", what, b)
		}
		for _, do := range meanwhile {
			do()
		}
	}
}

// TestThePersonSeesWhy starts a messenger from a terminal: it says why, and how to ask. What is asked is on record, and a code lets it start.
func TestThePersonSeesWhy(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	bad := f.program("holiday", messenger)
	f.write(filepath.Join(f.work, "secret"), "a secret for exceptions", 0o600)
	config := f.write(filepath.Join(f.work, "agent.yaml"), "data_dir: "+f.work+"/data\npolicy: policy.yaml\nagent: {secret: 'file:secret'}\n", 0o600)
	f.start("--config", config)

	master, slave := f.terminal()
	cmd := exec.Command("/bin/sh", "-c", bad)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Run(); err == nil {
		t.Fatal("it started")
	}
	defer slave.Close()
	text := make(chan string)
	go func() {
		var all string
		b := make([]byte, 4096)
		for !strings.Contains(all, "chaperone agent request") {
			n, err := master.Read(b)
			if err != nil {
				break
			}
			all += string(b[:n])
		}
		text <- all
	}()
	select {
	case all := <-text:
		for _, want := range []string{"holiday (telegram) was not started", "Please use the firm's own chat.", bad} {
			if !strings.Contains(all, want) {
				t.Errorf("the terminal does not say %q:\n%s", want, all)
			}
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the terminal says nothing")
	}
	e := f.spooled("refusal", func(e *event.Event) bool { return e.Kind == event.ProgramRun && e.Program.Path == bad })
	if e.Program.App != "telegram" || e.Verdict.Rule != "no-messengers" || !e.Verdict.Enforced || len(e.Program.SHA256) != 64 || e.From.Handle != "root" {
		t.Errorf("%+v", e)
	}

	ask := func(args ...string) string {
		return f.chaperone(append([]string{"agent", "request", "--socket", filepath.Join(f.work, "agent.sock")}, args...)...)
	}
	if out := ask("--reason", "for the holidays", bad); !strings.Contains(out, e.Program.SHA256) {
		t.Error(out)
	}
	f.spooled("request", func(e *event.Event) bool { return e.Phase == "program.request" && e.Act.Purpose == "for the holidays" })
	code, note, _ := strings.Cut(f.chaperone("agent", "code", "--secret", "file:"+filepath.Join(f.work, "secret"), "--host", "field", "--sha256", e.Program.SHA256, "--for", "2h"), "\n")
	if !strings.Contains(note, "valid until ") || !strings.Contains(note, ":00:00Z") {
		t.Errorf("until when the code is valid is told as %q", note)
	}
	if out := ask("--code", code, bad); !strings.Contains(out, "may run until") {
		t.Error(out)
	}
	f.want(bad, true)
	f.want(f.program("another", messenger+"x"), false)
	if out := f.chaperone("agent", "status", "--json", "--socket", filepath.Join(f.work, "agent.sock")); !strings.Contains(out, `"exceptions":1`) {
		t.Error(out)
	}
}

// chaperone runs a command of this test binary.
func (f *field) chaperone(args ...string) string {
	f.t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// terminal opens a pseudo terminal of its own file system.
func (f *field) terminal() (master, slave *os.File) {
	f.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err = errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)); err != nil {
		f.t.Fatal(err)
	}
	if slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { master.Close() })
	return master, slave
}

// stick is a loop image that a made-up sysfs calls a USB stick.
func (f *field) stick() (dir, sys string) {
	f.t.Helper()
	dir = f.mountImage("stick")
	sys = filepath.Join(f.work, "sys")
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		f.t.Fatal(err)
	}
	number := strconv.Itoa(int(unix.Major(uint64(st.Dev)))) + ":" + strconv.Itoa(int(unix.Minor(uint64(st.Dev))))
	disk := filepath.Join(sys, "devices/usb1/1-1/host/block/sdx")
	if err := errors.Join(os.MkdirAll(filepath.Join(disk, "device"), 0o755), os.MkdirAll(filepath.Join(sys, "dev/block"), 0o755),
		os.Symlink(disk, filepath.Join(sys, "dev/block", number))); err != nil {
		f.t.Fatal(err)
	}
	f.write(filepath.Join(disk, "dev"), number, 0o644)
	f.write(filepath.Join(disk, "removable"), "1", 0o644)
	f.write(filepath.Join(disk, "device/model"), "Cruzer", 0o644)
	f.write(filepath.Join(sys, "devices/usb1/1-1/serial"), "4C530001", 0o644)
	return dir, sys
}

// TestStick does not start what lies on a stick, says which stick it was, and looks through it.
func TestStick(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	dir, sys := f.stick()
	good, bad := f.program(filepath.Join(dir, "good"), ""), f.program(filepath.Join(dir, "holiday.jpg"), messenger)
	fixed := f.program("good", "")
	f.start("--sysfs", sys)
	f.want(good, false)
	f.want(bad, false)
	f.want(fixed, true)
	e := f.spooled("refusal", func(e *event.Event) bool { return e.Kind == event.ProgramRun && e.Program.Path == good })
	if e.Verdict.Rule != "removable-media" || e.Program.Media != "removable" {
		t.Errorf("%+v", e)
	}
	e = f.spooled("medium", func(e *event.Event) bool { return e.Kind == event.MediaIn })
	if e.Media.Serial != "4C530001" || !strings.Contains(e.Media.Device, "Cruzer") || e.Media.Mount != dir {
		t.Errorf("%+v", e.Media)
	}
	e = f.spooled("finding", func(e *event.Event) bool { return e.Kind == event.FindingHit && e.Program.Path == bad })
	if e.Program.App != "telegram" {
		t.Errorf("%+v", e.Program)
	}
}

// TestModes starts everything in monitor mode and says what would not have started; in lockdown only what a package brought starts, and
// libraries and programs of others are not even opened.
func TestModes(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	bad, unknown, brought := f.program("bad", messenger), f.program("unknown", "x"), f.program("brought", "")
	f.start("--mode", "monitor")
	f.await("agent decides")
	f.want(bad, true)
	f.want(unknown, true)
	if e := f.spooled("record", func(e *event.Event) bool { return e.Kind == event.ProgramRun && e.Program.Path == bad }); e.Verdict.Enforced || e.Verdict.Action != event.Block {
		t.Errorf("%+v", e.Verdict)
	}
	_ = f.agent.Process.Kill()
	_ = f.agent.Wait()

	data := f.write(filepath.Join(f.dir, "letter.txt"), "a letter", 0o644)
	script := f.write(filepath.Join(f.dir, "script"), "#!/bin/sh\nexit 0\n", 0o755)
	if err := os.Chown(script, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	f.start("--mode", "lockdown")
	f.want(bad, false)
	f.want(unknown, false)
	f.want(brought, true)
	f.want(script, false)
	loader := f.loader()
	// User 65534 runs these: root may open what he likes.
	as := func(args ...string) error {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.SysProcAttr = &unix.SysProcAttr{Credential: credential()}
		return cmd.Run()
	}
	if err := errors.Join(os.Chmod(f.work, 0o755), os.Chmod(filepath.Dir(f.work), 0o755), as("/bin/cat", data)); err != nil {
		t.Errorf("data cannot be opened: %v", err)
	}
	if err := as(loader, brought); err != nil {
		t.Errorf("what a package brought does not run by the loader: %v", err)
	}
	if as(loader, unknown) == nil || as(loader, bad) == nil {
		t.Error("the loader, called by hand, ran what may not start")
	}
}

// loader is the dynamic loader of this machine, which is not on the field.
func (f *field) loader() string {
	f.t.Helper()
	found, _ := filepath.Glob("/lib64/ld-linux*.so*")
	if len(found) == 0 {
		f.t.Skip("no dynamic loader here")
	}
	return found[0]
}

// TestScripts judges a script by itself, and whatever it names as its interpreter.
func TestScripts(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	bad := f.program("bad", messenger)
	script := f.write(filepath.Join(f.dir, "script"), "#!/bin/sh\nexit 0\n", 0o755)
	byBad := f.write(filepath.Join(f.dir, "by bad"), "#!"+bad+"\n", 0o755)
	listed := f.write(filepath.Join(f.dir, "listed"), "#!/bin/sh\n# a client\n", 0o755)
	sum := strings.Fields(f.run("sha256sum", listed))[0]
	f.write(filepath.Join(f.work, "policy.yaml"), strings.Replace(denyPolicy, "rules:\n", "rules:\n  - {id: known-bad, programs: {sha256: ["+sum+"]}, verdict: block}\n", 1), 0o644)
	f.start()
	f.want(script, true)
	f.want(byBad, false)
	f.want(listed, false)
}

// TestMemory starts a messenger from memory: fanotify is not asked about that, so the kernel must be told to forbid it (vm.memfd_noexec, here of
// this process namespace alone).
func TestMemory(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	bad := f.program("bad", messenger)
	f.start()
	run := func() error {
		cmd := exec.Command("/proc/self/exe", "attack-memfd", bad)
		cmd.Args[0] = os.Args[0]
		return cmd.Run()
	}
	if run() == nil {
		t.Error("it is stopped without vm.memfd_noexec: say so in the guide")
	}
	if err := os.WriteFile("/proc/sys/vm/memfd_noexec", []byte("2"), 0); errors.Is(err, os.ErrNotExist) {
		t.Skip("before Linux 6.3")
	} else if err != nil {
		t.Fatal(err)
	}
	if err := run(); err != nil {
		t.Errorf("it started with vm.memfd_noexec=2: %v", err)
	}
}

// TestWaysAround holds the guide to what it says: which ways are open in deny-list mode, and that the settings that it names close them.
func TestWaysAround(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	bad := f.program("bad", messenger)
	f.start()
	f.want(bad, false)
	if err := exec.Command(f.loader(), bad).Run(); err != nil {
		t.Errorf("the loader is stopped in deny-list mode: say so in the guide: %v", err)
	}
	shell := func(script string) error {
		cmd := exec.Command("unshare", "-U", "-r", "-m", "sh", "-c", script)
		cmd.Env = append(os.Environ(), "BAD="+bad)
		out, err := cmd.CombinedOutput()
		if len(out) > 0 {
			t.Logf("%s", out)
		}
		return err
	}
	if err := shell("true"); err != nil {
		t.Skipf("no user namespaces here: %v", err)
	}
	if err := shell(`mount -t tmpfs x /mnt && cp "$BAD" /mnt/x && /mnt/x`); err != nil {
		t.Errorf("memory in a user namespace is stopped: say so in the guide: %v", err)
	}
	if err := shell(`mount -t tmpfs x /mnt && mkdir /mnt/u /mnt/w /mnt/m && mount -t overlay -o lowerdir=$(dirname "$BAD"),upperdir=/mnt/u,workdir=/mnt/w x /mnt/m && /mnt/m/bad`); err == nil {
		t.Error("layers over what is watched are not stopped")
	}
	if shell(`echo 0 >/proc/sys/user/max_user_namespaces && unshare -U true`) == nil { // this setting belongs to the namespace
		t.Error("user.max_user_namespaces=0 does not close that")
	}
}

// TestUnit runs the agent with the rights that its unit leaves it, and no more.
func TestUnit(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	unit, err := os.ReadFile("../../../packaging/systemd/chaperone-agent.service")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(unit), "\nCapabilityBoundingSet=")
	line, _, _ := strings.Cut(rest, "\n")
	set := "-all"
	for _, c := range strings.Fields(line) {
		set += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	path, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip(err)
	}
	f.wrap = []string{path, "--bounding-set", set, "--inh-caps", "-all", "--no-new-privs"}
	bad := f.program("bad", messenger)
	f.start()
	f.want(bad, false)
	time.Sleep(1100 * time.Millisecond)
	good := f.program("good", "x")
	f.want(good, true)
	f.want(f.program("root-good", "y"), true)
	f.spooled("refusal", func(e *event.Event) bool { return e.Kind == event.ProgramRun && e.Program.Path == bad })
	for _, pid := range f.workers() {
		_ = unix.Kill(pid, unix.SIGSTOP)
	}
	f.recovers("after a stop")
}
