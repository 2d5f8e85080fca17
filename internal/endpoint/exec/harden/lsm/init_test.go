package lsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden/lsm"
)

// TestMain makes this test binary the first process of a machine, and the programs that try to go around what it loads there.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 && len(os.Args) == 1 {
		first()
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "all" {
		all()
		return
	}
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "try-") {
		os.Exit(try(os.Args[1]))
	}
	os.Exit(m.Run())
}

const user = 1000

// first is the machine's first process: it mounts what a machine has, starts what tries everything, and turns the machine off.
func first() {
	defer func() { _ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) }() // QEMU ends instead
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"securityfs", "/sys/kernel/security"}, {"bpf", "/sys/fs/bpf"}} {
		check("mount "+m[1], unix.Mount(m[0], m[1], m[0], 0, ""))
	}
	check("layers", loadModule("/overlay.ko"))
	c := exec.Command("/init", "all")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	check("all", c.Run())
}

// all tries everything.
func all() {
	p := lsm.New("")
	check("possible", p.Possible())
	if p.Loaded() {
		check("nothing is loaded", errors.New("it is"))
	}
	tryAll("before", func(w way) bool { return true })
	s := harden.NewSwitch("", "/tmp/kept")
	plan, err := s.Plan(harden.KernelPrograms)
	check("plan", err)
	if p.Loaded() {
		check("a plan changes nothing", errors.New("they are loaded"))
	}
	check("apply", s.Apply(plan))
	check("load again", p.Load())
	expectLoaded(p, 1)
	refusals, err := p.Open()
	if check("open", err); err != nil {
		return
	}
	for _, w := range ways() {
		if w.free {
			continue
		}
		w.expect("loaded", false)
		r, err := refusals.Read(10 * time.Second)
		if err == nil && (r.Reason != w.reason || r.User != user || r.Process < 2 || r.Command == "" || !strings.Contains(r.Path, w.path)) {
			err = fmt.Errorf("%+v", r)
		}
		check("told of "+w.name, err)
	}
	for _, w := range ways() {
		if w.free {
			w.expect("loaded", true)
		}
	}
	overflow(p, refusals)
	check("close", refusals.Close())
	older(p)
	_, err = s.Undo(harden.KernelPrograms)
	check("undo", err)
	ways()[0].expect("after", true)
	check("unload again", p.Unload())
	fmt.Println("all tried")
}

func check(what string, err error) {
	if err != nil {
		fmt.Printf("FAIL %s: %v\n", what, err)
		return
	}
	fmt.Println("ok", what)
}

// expectLoaded looks at what is held, and that it is no more than that.
func expectLoaded(p *lsm.Programs, want int) {
	entries, err := os.ReadDir(lsm.Folder)
	if err == nil && (len(entries) != want || !p.Loaded()) {
		err = fmt.Errorf("%d versions, loaded %v", len(entries), p.Loaded())
	}
	check("one version is loaded", err)
}

// overflow refuses more than there is room to tell of.
func overflow(p *lsm.Programs, r *lsm.Refusals) {
	for { // what the ways above left
		if _, err := r.Read(100 * time.Millisecond); err != nil {
			break
		}
	}
	before, _, err := r.Counts()
	check("counts", err)
	const many = 150
	c := command("try-often")
	c.Args = append(c.Args, fmt.Sprint(many))
	check("many", c.Run())
	after, lost, err := r.Counts()
	if err == nil && (after-before != many || lost == 0 || lost >= many || r.Lost() != lost || r.Lost() != 0) {
		err = fmt.Errorf("refused %d, lost %d", after-before, lost)
	}
	check("what has no room is counted", err)
	told := 0
	for ; ; told++ {
		if _, err := r.Read(time.Second); err != nil {
			break
		}
	}
	if uint64(told)+lost != many {
		check("all are told of or counted", fmt.Errorf("told of %d, lost %d", told, lost))
	}
	fmt.Println("told of", told, "lost", lost)
}

// older has another version in force, in whose place the one of now comes.
func older(p *lsm.Programs) {
	check("rename", os.Rename(filepath.Join(lsm.Folder, "exec-1"), filepath.Join(lsm.Folder, "exec-0")))
	if p.Loaded() {
		check("another version is another", errors.New("it is taken for this one"))
	}
	check("load in its place", p.Load())
	expectLoaded(p, 1)
	ways()[0].expect("reloaded", false)
}

// way is a way to start a program.
type way struct {
	name, attack string
	root         bool
	free         bool // it is not refused
	reason       lsm.Reason
	path         string // in what is told of it
}

func ways() []way {
	return []way{
		{name: "from memory", attack: "try-memory", reason: lsm.FromMemory, path: "memfd:messenger"},
		{name: "a script from memory", attack: "try-script", reason: lsm.FromMemory, path: "memfd:script"},
		{name: "a loader from memory", attack: "try-loader", reason: lsm.FromMemory, path: "memfd:messenger"},
		{name: "from a file system of a namespace", attack: "try-namespace", reason: lsm.FromNamespace, path: "/tmp/own/messenger"},
		{name: "from layers over a file system of a namespace", attack: "try-layers-own", reason: lsm.FromNamespace, path: "/messenger"},
		{name: "from layers over the machine's file system", attack: "try-layers-machine", free: true},
		{name: "a file without a name", attack: "try-unlinked", free: true},
		{name: "a file", attack: "try-plainly", free: true},
		{name: "from memory, by root", attack: "try-memory", root: true, free: true},
	}
}

func tryAll(when string, starts func(way) bool) {
	for _, w := range ways() {
		w.expect(when, starts(w))
	}
}

// expect goes one way and says how that ended.
func (w way) expect(when string, starts bool) {
	c := command(w.attack)
	if w.root {
		c.SysProcAttr = nil
	}
	out, err := c.CombinedOutput()
	got := err == nil
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == refused {
		err = nil
	}
	if err == nil && got != starts {
		err = fmt.Errorf("started %v, want %v", got, starts)
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	check(when+": "+w.name, err)
}

func command(attack string) *exec.Cmd {
	c := exec.Command("/init", attack)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	c.Dir = "/tmp"
	return c
}

// refused is how a program ends that could not start another.
const refused = 7

// try is one of the programs that go around. It becomes another program, which ends well, or says that it could not.
func try(attack string) int {
	var err error
	switch attack {
	case "try-memory":
		err = start(inMemory("messenger", program("")), "", unix.AT_EMPTY_PATH)
	case "try-script": // the interpreter can open it
		err = start(inMemory("script", []byte("#!"+put(fmt.Sprintf("/tmp/plain%d", os.Getpid()), program(""))+"\n")), "", unix.AT_EMPTY_PATH)
	case "try-loader":
		fd := inMemory("messenger", program(""))
		err = start(unix.AT_FDCWD, put(fmt.Sprintf("/tmp/harmless%d", os.Getpid()), program(fmt.Sprintf("/proc/self/fd/%d", fd))), 0)
	case "try-often":
		return often()
	case "try-plainly":
		err = start(unix.AT_FDCWD, put(fmt.Sprintf("/tmp/plain%d", os.Getpid()), program("")), 0)
	case "try-unlinked":
		path := put(fmt.Sprintf("/tmp/unlinked%d", os.Getpid()), program(""))
		fd, err2 := unix.Open(path, unix.O_RDONLY, 0)
		err = errors.Join(err2, unix.Unlink(path))
		if err == nil {
			err = start(fd, "", unix.AT_EMPTY_PATH)
		}
	case "try-namespace", "try-layers-own", "try-layers-machine":
		c := exec.Command("/init", attack+"-inside")
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: []syscall.SysProcIDMap{{HostID: user, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: user, Size: 1}}}
		c.Stderr = os.Stderr
		if err = c.Run(); err == nil {
			return 0
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode()
		}
	default:
		err = inside(attack)
	}
	if errors.Is(err, unix.EPERM) {
		return refused
	}
	fmt.Fprintln(os.Stderr, attack, err)
	return 1
}

// inside starts a program from what it mounts in a user namespace, where it is root.
func inside(attack string) error {
	machine := fmt.Sprintf("/tmp/machine%d", os.Getpid())
	err := os.MkdirAll(machine+"/low", 0o755)
	put(machine+"/low/messenger", program(""))
	if err == nil {
		err = os.MkdirAll("/tmp/own", 0o755)
	}
	if err == nil {
		err = unix.Mount("none", "/tmp/own", "tmpfs", 0, "")
	}
	for _, d := range []string{"low", "up", "work", "all"} {
		err = errors.Join(err, os.MkdirAll("/tmp/own/"+d, 0o755))
	}
	low := "/tmp/own/low"
	switch attack {
	case "try-namespace-inside":
		if err == nil {
			err = start(unix.AT_FDCWD, put("/tmp/own/messenger", program("")), 0)
		}
		return err
	case "try-layers-machine-inside":
		low = machine + "/low"
	default:
		put(low+"/messenger", program(""))
	}
	if err == nil {
		err = unix.Mount("none", "/tmp/own/all", "overlay", 0, "lowerdir="+low+",upperdir=/tmp/own/up,workdir=/tmp/own/work,userxattr")
	}
	if errors.Is(err, unix.EPERM) {
		return errors.New("the layers could not be mounted") // that is no refusal
	}
	if err == nil {
		err = start(unix.AT_FDCWD, "/tmp/own/all/messenger", 0)
	}
	return err
}

// often is refused many times.
func often() int {
	fd := inMemory("messenger", program(""))
	for range 150 {
		if err := start(fd, "", unix.AT_EMPTY_PATH); !errors.Is(err, unix.EPERM) {
			return 1
		}
	}
	return 0
}

// start becomes the program.
func start(dir int, path string, flags int) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	args := [2]*byte{&[]byte("messenger\x00")[0]}
	var none [1]*byte
	_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&none[0])), uintptr(flags), 0)
	return errno
}

// inMemory returns the descriptor of a file that is in memory.
func inMemory(name string, content []byte) int {
	fd, err := unix.MemfdCreate(name, 0)
	if err != nil {
		panic(err)
	}
	if _, err := os.NewFile(uintptr(fd), name).Write(content); err != nil {
		panic(err)
	}
	fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY, 0) // what is open for writing does not start
	if err != nil {
		panic(err)
	}
	return fd
}

// put writes a program. The file is closed for writing then.
func put(path string, content []byte) string {
	if err := os.WriteFile(path, content, 0o755); err != nil {
		panic(err)
	}
	return path
}

// program returns a program that ends at once, and well. With a loader it names that, which the kernel starts in its place.
func program(loader string) []byte {
	const header, entry = 64, 56
	base := uint64(0x400000)
	code := []byte{0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05} // exit(0)
	parts := uint16(1)
	if loader != "" {
		base, parts, code = 0x10000000, 2, append([]byte(loader), 0)
	}
	at, size := uint64(header+entry*int(parts)), uint64(len(code))
	fields := []any{uint16(2), uint16(62), uint32(1), base + at, uint64(header), uint64(0), uint32(0), uint16(header), uint16(entry), parts, uint16(0), uint16(0), uint16(0)}
	if loader != "" { // PT_INTERP
		fields = append(fields, uint32(3), uint32(4), at, base+at, base+at, size, size, uint64(1))
	}
	fields = append(fields, uint32(1), uint32(7), uint64(0), base, base, at+size, at+size, uint64(4096)) // PT_LOAD; the kernel writes zeros behind a loader
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01")
	b.Write(make([]byte, 9))
	for _, v := range fields {
		_ = binary.Write(&b, binary.LittleEndian, v) // into memory
	}
	b.Write(code)
	return b.Bytes()
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}
