// Command exec measures what `chaperone agent` costs whoever starts or opens a file, side by side with the same unwatched, with the mark alone
// that the kernel asks such a daemon by, and, where it is installed, with fapolicyd.
//
//	go run ./bench/exec [BINARY]
//
// BINARY is chaperone (default: bin/chaperone). It needs root. All happens in a mount namespace of its own, on file systems of its own: the agent
// is told to watch nothing else, and fapolicyd to watch ramfs only, of which there must be one, ours. What is compared takes turns, in an order
// that turns too, so that all see the same machine; what is compared is the median. Goals stand beside, met or missed.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	inside = "CHAPERONE_BENCH_NAMESPACE"
	limit  = 10 * time.Minute
	// tokens make a program a messenger.
	tokens = "\x00tdesktop-palette\x00tg://login?token=\x00"
)

func main() {
	binary := "bin/chaperone"
	if len(os.Args) > 1 {
		binary = os.Args[1]
	}
	if err := run(os.Stdout, binary); err != nil {
		fmt.Fprintln(os.Stderr, "exec:", err)
		os.Exit(2)
	}
}

func run(out io.Writer, binary string) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	if os.Getenv(inside) == "" {
		return enter(out, binary)
	}
	runtime.LockOSThread()
	dir, err := os.MkdirTemp("", "bench-exec")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{table: table{out: out}, dir: dir, binary: binary}
	defer b.close()
	return b.measure()
}

// enter runs the measurement in a mount namespace of its own.
func enter(out io.Writer, binary string) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root, for fanotify and mounts")
	}
	cmd := exec.Command("/proc/self/exe", binary)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	return cmd.Run()
}

// bench is one run.
type bench struct {
	table
	dir, binary string
	mounted     []string
	running     []*exec.Cmd
	marks       []int
}

func (b *bench) close() {
	for _, c := range b.running {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	for _, fd := range b.marks {
		_ = unix.Close(fd)
	}
	for _, m := range slices.Backward(b.mounted) {
		_ = unix.Unmount(m, unix.MNT_DETACH)
	}
}

// measure starts everybody, and measures.
func (b *bench) measure() error {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	f, err := b.fields()
	if err != nil {
		return err
	}
	b.head(runtime.NumCPU(), strings.Fields(string(load))[0])
	return errors.Join(b.starts(f), b.opens(f), b.first(f), b.lockdown(f))
}

// fields are file systems: nobody watches bare, a mark without a daemon lies on marked, the agent watches watched, and fapolicyd asked. Asked and
// its like unasked are "" without fapolicyd.
type fields struct {
	bare, marked, watched, unasked, asked string
}

// fields mounts them, and starts who watches them.
func (b *bench) fields() (f fields, err error) {
	for path, to := range map[string]*string{"bare/field": &f.bare, "marked/field": &f.marked, "watched/field": &f.watched} {
		if *to, err = b.image(path); err != nil {
			return f, err
		}
		if err := fillField(*to); err != nil {
			return f, err
		}
	}
	for _, dir := range []string{f.bare, f.watched} {
		if err := errors.Join(large(dir+"/big", "1"), large(dir+"/client", tokens)); err != nil {
			return f, err
		}
	}
	policy := filepath.Join(b.dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte("version: 1\nmode: enforce\nrules:\n  - {id: no-messengers, apps: [\"*\"], verdict: block}\notherwise: {programs: allow}\n"), 0o600); err != nil {
		return f, err
	}
	if f.unasked, f.asked, err = b.peer(); err != nil {
		return f, err
	}
	unix.Sync()
	time.Sleep(1200 * time.Millisecond) // until nothing is fresh
	if err := b.mark(f.marked); err != nil {
		return f, err
	}
	return f, b.agent("deny-list", "watched", f.watched+"/probe")
}

// fillField puts programs on a file system.
func fillField(dir string) error {
	return errors.Join(program(dir+"/system", 0, nil), program(dir+"/own", 1000, nil), program(dir+"/idle", 1000, nil), program(dir+"/probe", 1000, []byte(tokens)))
}

// agent starts an agent that watches what is mounted below a folder, and waits until it refuses a program.
func (b *bench) agent(mode, folder, probe string) error {
	err := b.start(exec.Command(b.binary, "agent", "--mode", mode, "--only", filepath.Join(b.dir, folder), "--policy", filepath.Join(b.dir, "policy.yaml"),
		"--data", filepath.Join(b.dir, folder+"-data"), "--socket", filepath.Join(b.dir, folder+"-socket")))
	if err != nil {
		return err
	}
	if err := refused(probe); err != nil {
		return fmt.Errorf("agent in mode %s: %w", mode, err)
	}
	return nil
}

// mark lays the mark on a file system by which the kernel asks about starts, and reads nothing: this is what the kernel takes for itself.
func (b *bench) mark(dir string) error {
	fd, err := unix.FanotifyInit(unix.FAN_CLOEXEC|unix.FAN_CLASS_CONTENT, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return fmt.Errorf("fanotify: %w", err)
	}
	b.marks = append(b.marks, fd)
	return unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, unix.FAN_OPEN_EXEC_PERM, unix.AT_FDCWD, dir)
}

// start starts a daemon that ends at the latest after the limit: then the kernel lets everything through.
func (b *bench) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.running = append(b.running, cmd)
	time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	return nil
}

// image mounts an ext4 image of its own.
func (b *bench) image(path string) (string, error) {
	dir := filepath.Join(b.dir, path)
	image := dir + ".img"
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(image, nil, 0o600), os.Truncate(image, 1<<30)); err != nil {
		return "", err
	}
	for _, words := range [][]string{{"mkfs.ext4", "-q", "-F", image}, {"mount", "-o", "loop", image, dir}} {
		if text, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w: %s", words, err, text)
		}
	}
	b.mounted = append(b.mounted, dir)
	return dir, nil
}

// program copies a program of the system, with more bytes behind it.
func program(path string, owner int, more []byte) error {
	text, err := os.ReadFile("/bin/true")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(path, append(text, more...), 0o755), os.Chown(path, owner, owner))
}

// once starts a program and waits for its end.
func once(path string) (time.Duration, error) {
	begun := time.Now()
	pid, err := syscall.ForkExec(path, []string{path}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	if err != nil {
		return time.Since(begun), err
	}
	var status unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
			return time.Since(begun), err
		}
	}
}

// refused waits until a program is refused.
func refused(path string) error {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := once(path); errors.Is(err, unix.EPERM) {
			return nil
		}
	}
	return errors.New("it does not decide")
}
