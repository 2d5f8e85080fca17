// Command exec measures what `chaperone agent` costs whoever starts a program, side by side with the same start unwatched and, where it is
// installed, with fapolicyd.
//
//	go run ./bench/exec [BINARY]
//
// BINARY is chaperone (default: bin/chaperone). It needs root. All happens in a mount namespace of its own, on file systems of its own: the agent
// is told to watch nothing else, and fapolicyd to watch ramfs only, of which there must be one, ours. Starts of a watched and of an unwatched
// program alternate, so that both see the same machine; what is compared is the median.
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
	"time"

	"golang.org/x/sys/unix"
)

const (
	inside = "CHAPERONE_BENCH_NAMESPACE"
	starts = 1500
	limit  = 5 * time.Minute
	big    = 75 << 20
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
	b := &bench{out: out, dir: dir, binary: binary}
	defer b.close()
	return errors.Join(b.agent(), b.lockdown(), b.fapolicyd())
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
	out         io.Writer
	dir, binary string
	mounted     []string
	running     []*exec.Cmd
}

func (b *bench) close() {
	for _, c := range b.running {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	for _, m := range slices.Backward(b.mounted) {
		_ = unix.Unmount(m, unix.MNT_DETACH)
	}
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

// large makes a program of 75 MB, as messengers are: most of it is a section. Without objcopy it is padded.
func large(path, end string) error {
	pad := append(make([]byte, big), end...)
	x := uint32(1)
	for i := range big { // nothing that is easily passed over
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		pad[i] = byte(x)
	}
	if _, err := exec.LookPath("objcopy"); err != nil {
		return program(path, 1000, pad)
	}
	if err := errors.Join(program(path, 1000, nil), os.WriteFile(path+".pad", pad, 0o600)); err != nil {
		return err
	}
	if text, err := exec.Command("objcopy", "--add-section", ".pad="+path+".pad", path).CombinedOutput(); err != nil {
		return fmt.Errorf("objcopy: %w: %s", err, text)
	}
	return errors.Join(os.Chown(path, 1000, 1000), os.Remove(path+".pad"))
}

// agent compares starts on a watched and on an unwatched file system.
func (b *bench) agent() error {
	watched, err1 := b.image("watched/field")
	bare, err2 := b.image("bare/field")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for _, dir := range []string{watched, bare} {
		if err := errors.Join(program(dir+"/system", 0, nil), program(dir+"/own", 1000, nil), large(dir+"/big", "1"), large(dir+"/big2", "2"), large(dir+"/client", tokens),
			program(dir+"/probe", 1000, []byte(tokens))); err != nil {
			return err
		}
	}
	policy := filepath.Join(b.dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte("version: 1\nmode: enforce\nrules:\n  - {id: no-messengers, apps: [\"*\"], verdict: block}\notherwise: {programs: allow}\n"), 0o600); err != nil {
		return err
	}
	unix.Sync()
	time.Sleep(1200 * time.Millisecond) // until nothing is fresh
	err := b.start(exec.Command(b.binary, "agent", "--only", filepath.Join(b.dir, "watched"), "--policy", policy, "--data", filepath.Join(b.dir, "data"),
		"--socket", filepath.Join(b.dir, "socket")))
	if err != nil {
		return err
	}
	if err := refused(watched + "/probe"); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	fmt.Fprintf(b.out, "%-46s %9s %9s %7s\n", "start of a program, median", "unwatched", "watched", "ratio")
	for _, p := range []struct{ file, what string }{{"system", "chaperone: of the system (root's)"}, {"own", "chaperone: of a user, asked each time"}} {
		if err := b.compare(p.what, bare+"/"+p.file, watched+"/"+p.file); err != nil {
			return err
		}
	}
	return errors.Join(b.opens("chaperone: open() and close()", bare+"/own", watched+"/own"), b.first(bare, watched))
}

// first measures the first start of a large program, from the page cache and from the disk.
func (b *bench) first(bare, watched string) error {
	for _, p := range []struct{ file, what string }{{"big", "first start of 75 MB"}, {"big2", "the same, out of the page cache"}, {"client", "the same, refused as a messenger"}} {
		for _, dir := range []string{bare, watched} {
			if err := fill(dir+"/"+p.file, p.file == "big2"); err != nil {
				return err
			}
		}
		plain, err := once(bare + "/" + p.file)
		if err != nil {
			return err
		}
		before := spent(b.binary)
		asked, err := once(watched + "/" + p.file)
		worked := spent(b.binary) - before
		if (err != nil) != (p.file == "client") {
			return fmt.Errorf("%s: started %v", p.file, err == nil)
		}
		fmt.Fprintf(b.out, "%-46s %6.1f ms %6.1f ms, of which the agent ran %.1f ms\n", "chaperone: "+p.what, milliseconds(plain), milliseconds(asked), milliseconds(worked))
	}
	return nil
}

// fill reads a file, so that it is in the page cache, or puts it out of it.
func fill(path string, out bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if out {
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	_, err = io.Copy(io.Discard, f)
	return err
}

// compare alternates starts of two programs.
func (b *bench) compare(what, bare, watched string) error {
	times := [2][]time.Duration{}
	for range starts {
		for i, path := range []string{bare, watched} {
			took, err := once(path)
			if err != nil {
				return err
			}
			times[i] = append(times[i], took)
		}
	}
	plain, asked := median(times[0]), median(times[1])
	fmt.Fprintf(b.out, "%-46s %6.0f µs %6.0f µs %7.2f\n", what, microseconds(plain), microseconds(asked), float64(asked)/float64(plain))
	return nil
}

// once starts a program and waits for its end.
func once(path string) (time.Duration, error) {
	begun := time.Now()
	pid, err := syscallForkExec(path)
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

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// others returns how many mounts of a type there are.
func others(table, kind string) int {
	n := 0
	for line := range strings.Lines(table) {
		if _, after, ok := strings.Cut(line, " - "); ok && strings.HasPrefix(after, kind+" ") {
			n++
		}
	}
	return n
}

// spent returns the processor time of all processes of a binary: on a busy machine that says what waiting time does not.
func spent(binary string) time.Duration {
	var sum time.Duration
	links, _ := filepath.Glob("/proc/[0-9]*/exe") // the pattern is good
	for _, link := range links {
		if real, err := os.Readlink(link); err != nil || real != binary {
			continue
		}
		files, _ := filepath.Glob(filepath.Dir(link) + "/task/*/schedstat")
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				continue
			}
			var ran int64
			if _, err := fmt.Sscan(string(text), &ran); err == nil {
				sum += time.Duration(ran)
			}
		}
	}
	return sum
}
