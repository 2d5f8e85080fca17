package agentcmd_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/cmd/chaperone/agentcmd"
	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

// TestMain makes this test binary the chaperone that the tests start, and the programs that they attack it with.
func TestMain(m *testing.M) {
	sandbox.Child(os.Args, []sandbox.Parser{reveal.Parser()})
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		var cli struct {
			Agent agentcmd.Command `cmd:""`
		}
		ctx, stop := notify()
		defer stop()
		os.Exit(command.Run(&cli, os.Args[1:], &command.Env{Ctx: ctx, In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}))
	}
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "attack-") {
		os.Exit(attack(os.Args[1:]))
	}
	os.Exit(m.Run())
}

const inside = "CHAPERONE_TEST_NAMESPACE" // set in the test process that has mounts of its own

// limit is how long one test may take: then everything of it is killed, which closes the fanotify descriptor.
func limit() time.Duration {
	if os.Getenv("CHAPERONE_SOAK") == "1" {
		return 3 * time.Hour
	}
	return 10 * time.Minute
}

// namespace runs the test in a process with a mount namespace of its own, and reports whether this is that process. Nothing that the test
// mounts is seen outside, and nothing outside is ever marked: agents are started with --only.
func namespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root, for fanotify and mounts")
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit())
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The shell is the first process of the namespace, and takes leave of what killed workers leave behind.
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `"$@"; exit $?`, "sh", self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+(limit()-5*time.Second).String())
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	cmd.WaitDelay = time.Second
	if os.Getenv("CHAPERONE_SOAK") == "1" { // somebody watches
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		return false
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	return false
}

// field is a file system of its own, with an agent that watches it.
type field struct {
	t      *testing.T
	dir    string // the mount
	work   string // on the machine's file system: image, policy, data
	binary string // that the agent is started from
	args   []string
	wrap   []string // command that starts the agent
	agent  *exec.Cmd
	log    *logBuffer
}

// messenger is what makes a program Telegram: two tokens of the catalog. A real program that does nothing carries them here.
const messenger = "\x00tdesktop-palette\x00tg://login?token=\x00"

const denyPolicy = `version: 1
mode: enforce
rules:
  - {id: no-messengers, apps: ["*"], verdict: block, say: "Please use the firm's own chat."}
otherwise: {programs: allow}
`

// newField mounts a loop image.
func newField(t *testing.T) *field {
	t.Helper()
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil { // of this process namespace
		t.Fatal(err)
	}
	f := &field{t: t, work: t.TempDir(), binary: "/proc/self/exe", log: &logBuffer{}}
	if real, err := os.Readlink(f.binary); err == nil {
		f.binary = real
	}
	f.dir = f.mountImage("field")
	f.write(filepath.Join(f.work, "policy.yaml"), denyPolicy, 0o644)
	return f
}

// mountImage makes an ext4 image and mounts it below the folder that agents watch.
func (f *field) mountImage(name string) string {
	f.t.Helper()
	image, dir := filepath.Join(f.work, name+".img"), filepath.Join(f.work, "watched", name)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(image, nil, 0o600), os.Truncate(image, 128<<20)); err != nil {
		f.t.Fatal(err)
	}
	f.run("mkfs.ext4", "-q", "-F", image)
	f.run("mount", "-o", "loop", image, dir)
	f.t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func (f *field) run(name string, args ...string) string {
	f.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		f.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func (f *field) write(path, text string, mode os.FileMode) string {
	f.t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// program puts /bin/true, or another program, with more bytes behind it on the field. It belongs to a user, unless its name begins with "root".
func (f *field) program(name, more string) string {
	f.t.Helper()
	b, err := os.ReadFile("/bin/true")
	if err != nil {
		f.t.Fatal(err)
	}
	path := name
	if !filepath.IsAbs(name) {
		path = filepath.Join(f.dir, name)
	}
	f.write(path, string(b)+more, 0o755)
	if !strings.HasPrefix(name, "root") {
		if err := os.Chown(path, 1000, 1000); err != nil {
			f.t.Fatal(err)
		}
	}
	return path
}

// start starts an agent and waits until it decides.
func (f *field) start(args ...string) {
	f.t.Helper()
	f.startWith(f.log, args...)
	f.await("agent decides")
}

// startWith starts an agent with a log of its own, and waits until it refuses a messenger.
func (f *field) startWith(log io.Writer, args ...string) {
	f.t.Helper()
	f.args = append([]string{"agent", "--only", filepath.Join(f.work, "watched"), "--policy", filepath.Join(f.work, "policy.yaml"),
		"--socket", filepath.Join(f.work, "agent.sock"), "--host", "field", "--data", filepath.Join(f.work, "data")}, args...)
	f.startThis(log)
}

// startBare starts an agent with these arguments alone.
func (f *field) startBare(args []string) {
	f.t.Helper()
	f.args = args
	f.startThis(f.log)
}

func (f *field) startThis(log io.Writer) {
	f.t.Helper()
	words := append(append(slices.Clone(f.wrap), f.binary), f.args...)
	f.agent = exec.Command(words[0], words[1:]...)
	f.agent.Stderr = log
	f.agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	f.agent.WaitDelay = time.Second // a child of the worker that was stopped before it became another program keeps the log open
	if err := f.agent.Start(); err != nil {
		f.t.Fatal(err)
	}
	watchdog := time.AfterFunc(limit()-10*time.Second, func() { _ = f.agent.Process.Kill() })
	f.t.Cleanup(func() {
		watchdog.Stop()
		_ = f.agent.Process.Kill()
		_ = f.agent.Wait()
		if f.t.Failed() {
			f.t.Logf("agent:\n%s", f.log.String())
		}
	})
	probe := f.program("probe", messenger)
	for end := time.Now().Add(2 * time.Minute); !slices.Contains(f.args, "monitor") && f.starts(probe); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("the agent does not decide:\n%s", f.log.String())
		}
	}
}

// stop ends the agent.
func (f *field) stop() {
	_ = f.agent.Process.Kill()
	_ = f.agent.Wait()
}

// await waits for words in the agent's log.
func (f *field) await(words string) {
	f.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !strings.Contains(f.log.String(), words); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("the agent does not say %q:\n%s", words, f.log.String())
		}
	}
}

// starts reports whether a program may be started, by anybody.
func (f *field) starts(path string, args ...string) bool {
	f.t.Helper()
	err := exec.Command(path, args...).Run()
	for end := time.Now().Add(2 * time.Minute); errors.Is(err, unix.ETXTBSY) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		err = exec.Command(path, args...).Run() // a child that is on its way has it open for writing
	}
	var exit *exec.ExitError
	switch {
	case err == nil, errors.As(err, &exit):
		return true
	case errors.Is(err, unix.EPERM):
		return false
	}
	f.t.Fatal(err)
	return false
}

// want starts a program. Where the machine has other things to do, one that may start is refused when its time is over, and looked at on: only
// such a refusal is tried again.
func (f *field) want(path string, start bool) {
	f.t.Helper()
	begun := time.Now()
	got := f.starts(path)
	for end := begun.Add(2 * time.Minute); start && !got && time.Since(begun) > time.Second && time.Now().Before(end); {
		begun = time.Now()
		got = f.starts(path)
	}
	if got != start {
		f.t.Errorf("%s: started %v, want %v", strings.TrimPrefix(path, f.work), got, start)
	}
}

// workers returns the process ids of the agent's workers, without their children that did not come to be another program yet: one of those that
// is stopped would never be one.
func (f *field) workers() []int {
	var all []int
	entries, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, e := range entries {
		if b, _ := os.ReadFile(e); bytes.Contains(b, []byte("agent\x00worker\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(e)))
			all = append(all, pid)
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(pid int) bool { return slices.Contains(all, parentOf(pid)) })
}

// parentOf returns the parent of a process, 0 when it is gone.
func parentOf(pid int) int {
	status, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	_, rest, _ := strings.Cut(string(status), "\nPPid:\t")
	line, _, _ := strings.Cut(rest, "\n")
	parent, _ := strconv.Atoi(line)
	return parent
}

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var _ io.Writer = (*logBuffer)(nil)

// credential is that of somebody who owns nothing.
func credential() *syscall.Credential { return &syscall.Credential{Uid: 65534, Gid: 65534} }
