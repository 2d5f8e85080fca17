// Package lsm closes two ways around the execution control in the kernel itself: a program that is started from memory, and one that is started
// from a file system that somebody mounted in a user namespace. No file of these is in a file system that could be watched.
//
// A program for the kernel (BPF, as a Linux security module) refuses both, for everybody but root. It is small, made here of instructions, and
// finds what it reads by the description that the running kernel gives of itself: so one binary fits all kernels, and nothing is compiled.
// It is held by names in the kernel's own file system for such things: whatever ends, it stays, until it is taken away or the machine is
// started anew. What it refused it tells in a ring of fixed size; what has no room there is counted.
package lsm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Folder is where the programs are held.
const Folder = "/sys/fs/bpf/chaperone"

// version is another one whenever the program, or what it hands over, is another.
const version = "exec-1"

const ringSize = 64 << 10

// ErrNotPossible says that this kernel takes no such programs, with the reason behind it.
var ErrNotPossible = errors.New("the kernel takes no security programs")

// Programs are the programs of one kernel, or the place where they would be.
type Programs struct{ sys, dir string }

// New returns the programs of the machine whose sysfs is at a place, "" for that of this one.
func New(sys string) *Programs {
	if sys == "" {
		sys = "/sys"
	}
	return &Programs{sys, filepath.Join(sys, strings.TrimPrefix(Folder, "/sys/"))}
}

// Possible returns nil when the kernel should take the programs, else ErrNotPossible with the reason.
func (p *Programs) Possible() error {
	b, err := os.ReadFile(filepath.Join(p.sys, "kernel/security/lsm"))
	modules := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return fmt.Errorf("%w: it does not tell which security modules it runs with (/sys/kernel/security is not mounted)", ErrNotPossible)
	case !slices.Contains(strings.Split(modules, ","), "bpf"):
		return fmt.Errorf("%w: it runs without the module for them (lsm=%s); lsm=%s,bpf at boot would change that", ErrNotPossible, modules, modules)
	}
	if _, err := os.Stat(filepath.Join(p.sys, "kernel/btf/vmlinux")); err != nil {
		return fmt.Errorf("%w: it does not describe itself (CONFIG_DEBUG_INFO_BTF)", ErrNotPossible)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(p.dir), &st); err != nil || st.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("%w: the place where they are held is not mounted (mount -t bpf bpf /sys/fs/bpf)", ErrNotPossible)
	}
	return nil
}

// Loaded reports whether the programs are in force.
func (p *Programs) Loaded() bool {
	_, err := os.Stat(filepath.Join(p.dir, version, "link"))
	return err == nil
}

// Load puts the programs in force, in the place of those of another version. It does nothing when they are.
func (p *Programs) Load() error {
	if err := p.Possible(); err != nil || p.Loaded() {
		return err
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return fmt.Errorf("lsm: %w", err)
	}
	// They get their name when all is there, so that two who do this at once end with one.
	dir := filepath.Join(p.dir, "new-"+strconv.Itoa(os.Getpid()))
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		if err = load(dir); err == nil {
			err = os.Rename(dir, filepath.Join(p.dir, version))
		}
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("lsm: %w", reason(err)), remove(dir))
		if p.Loaded() {
			return nil
		}
		return err
	}
	return p.unload(version)
}

// load makes the programs and holds them in a folder.
func load(dir string) error {
	defer unlock()()
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return fmt.Errorf("the kernel's description of itself: %w", err)
	}
	places, err := readLayout(spec)
	if err != nil {
		return err
	}
	refusals, err := ebpf.NewMap(&ebpf.MapSpec{Name: "chaperone_tell", Type: ebpf.RingBuf, MaxEntries: ringSize})
	if err != nil {
		return err
	}
	defer refusals.Close()
	numbers, err := ebpf.NewMap(&ebpf.MapSpec{Name: "chaperone_count", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: counts})
	if err != nil {
		return err
	}
	defer numbers.Close()
	prog, err := ebpf.NewProgram(program(places, refusals.FD(), numbers.FD()))
	if err != nil {
		return err
	}
	defer prog.Close()
	if err := errors.Join(refusals.Pin(filepath.Join(dir, "refusals")), numbers.Pin(filepath.Join(dir, "counts"))); err != nil {
		return err
	}
	l, err := link.AttachLSM(link.LSMOptions{Program: prog})
	if err != nil {
		return err
	}
	return errors.Join(l.Pin(filepath.Join(dir, "link")), l.Close())
}

// unlock lifts the limit of locked memory, which counts what programs hold before Linux 5.11, and returns what puts it back. Where that is needed
// and fails, making the ring fails too. (The library's own way would ask the kernel at the start of every command.)
func unlock() func() {
	var was unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &was) != nil ||
		unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}) != nil {
		return func() {}
	}
	return func() { _ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &was) } // it is no less than before
}

// reason adds what a refusal by the kernel comes from, where it says so.
func reason(err error) error {
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	b, _ := os.ReadFile("/sys/kernel/security/lockdown") // without it the reason is another
	if strings.Contains(string(b), "[") && !strings.Contains(string(b), "[none]") {
		return fmt.Errorf("%w (the kernel is locked down: %s)", err, strings.TrimSpace(string(b)))
	}
	return fmt.Errorf("%w (this needs root of the machine, outside of containers)", err)
}

// Unload takes the programs away.
func (p *Programs) Unload() error {
	if err := p.unload(""); err != nil {
		return err
	}
	if err := os.Remove(p.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lsm: %w", err)
	}
	return nil
}

// unload takes away all versions but one.
func (p *Programs) unload(but string) error {
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lsm: %w", err)
	}
	for _, e := range entries {
		if e.Name() != but {
			err = remove(filepath.Join(p.dir, e.Name()))
		}
		if err != nil {
			return fmt.Errorf("lsm: %w", err)
		}
	}
	return nil
}

// remove removes a folder with all in it: with the last name of a program the kernel lets go of it.
func remove(dir string) error {
	if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
