package agentcmd_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Exit statuses of an attack by a descriptor; when the program starts, its own status takes their place.
const (
	attackRefused = 7
	attackCannot  = 8 // this kernel does not have the way
	attackBroken  = 9
)

// byDescriptor starts a program without giving its path to exec, in the place of this process.
func byDescriptor(how, path string) int {
	var fd int
	var err error
	flags := unix.AT_EMPTY_PATH
	switch how {
	case "inherited":
		fd = 3
	case "path":
		fd, err = unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	case "uring":
		if fd, err = uringOpen(path); errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
			return attackCannot
		}
	default:
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err == nil && how == "deleted" {
		err = os.Remove(path)
	}
	if err != nil {
		fmt.Println(err)
		return attackBroken
	}
	if how == "proc" {
		err = unix.Exec("/proc/self/fd/"+strconv.Itoa(fd), []string{"x"}, nil)
	} else {
		err = execveat(fd, flags)
	}
	if errors.Is(err, unix.EPERM) {
		return attackRefused
	}
	fmt.Println(err)
	return attackBroken
}

// execveat replaces this process by what a descriptor leads to.
func execveat(fd, flags int) error {
	name, args := []byte{0}, [2]*byte{}
	args[0] = &name[0]
	var none [1]*byte
	runtime.LockOSThread()
	_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&none[0])), uintptr(flags), 0)
	return errno
}

// ringParams are those of io_uring_setup(2).
type ringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	reserved                                             [3]uint32
	sq                                                   struct {
		head, tail, mask, entries, flags, dropped, array, reserved uint32
		user                                                       uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, reserved uint32
		user                                                       uint64
	}
}

// uringOpen opens a file through io_uring(7).
func uringOpen(path string) (int, error) {
	const opOpenat, getEvents, offSQEs = 18, 1, 0x10000000
	var p ringParams
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return -1, errno
	}
	queue, err1 := unix.Mmap(int(ring), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	entry, err2 := unix.Mmap(int(ring), offSQEs, 64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	done, err3 := unix.Mmap(int(ring), 0x8000000, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err := errors.Join(err1, err2, err3); err != nil {
		return -1, err
	}
	name := append([]byte(path), 0)
	at := func(b []byte, off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[off])) }
	entry[0] = opOpenat
	here := int32(unix.AT_FDCWD)
	*at(entry, 4) = uint32(here)
	*(*uint64)(unsafe.Pointer(&entry[16])) = uint64(uintptr(unsafe.Pointer(&name[0])))
	*at(entry, 28) = unix.O_RDONLY
	*at(queue, p.sq.array) = 0
	atomic.StoreUint32(at(queue, p.sq.tail), atomic.LoadUint32(at(queue, p.sq.tail))+1)
	_, _, errno = unix.Syscall6(unix.SYS_IO_URING_ENTER, ring, 1, 1, getEvents, 0, 0)
	runtime.KeepAlive(name)
	if errno != 0 {
		return -1, errno
	}
	res := int32(*at(done, p.cq.cqes+8)) // of the first
	if res < 0 {
		return -1, unix.Errno(-res)
	}
	return int(res), nil
}

// TestByDescriptor starts programs by a descriptor: with execveat(2), opened for reading, as a path only, through io_uring, before the agent was
// there, of a file that has no name any more, and through /proc.
func TestByDescriptor(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	names := []string{"read", "path", "uring", "deleted", "proc", "inherited"}
	early := map[string]*os.File{} // opened before anybody watches
	for _, kind := range []string{"bad", "good"} {
		for _, how := range names {
			path := f.program(kind+" "+how, map[string]string{"bad": messenger, "good": ""}[kind])
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			early[path] = file
		}
	}
	f.start()
	for path, file := range early {
		kind, how := filepath.Base(path)[:4], filepath.Base(path)[5:]
		want := 0
		if kind == "bad " {
			how, want = filepath.Base(path)[4:], attackRefused
		}
		cmd := exec.Command("/proc/self/exe", "attack-descriptor", how, path)
		cmd.Args[0] = os.Args[0]
		cmd.ExtraFiles = []*os.File{file}
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code == attackCannot {
			t.Logf("%s: not on this kernel", how)
		} else if code != want {
			t.Errorf("%s: exit status %d, want %d: %v: %s", filepath.Base(path), code, want, err, out)
		}
	}
}

// TestOddNames starts programs whose paths are made to mislead: with a newline, through /proc, and by hard links across bind mounts.
func TestOddNames(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	f.start()
	odd := f.program("good\n{\"kind\":\"act\"}\n", messenger)
	f.want(odd, false)
	e := f.spooled("refusal", func(e *event.Event) bool { return e.Kind == event.ProgramRun && e.Program.Path == odd })
	if !e.Verdict.Enforced {
		t.Errorf("%+v", e.Verdict)
	}
	bad := f.program("bad", messenger)
	f.want("/proc/self/root"+bad, false)
	elsewhere := t.TempDir()
	if err := unix.Mount(f.dir, elsewhere, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(elsewhere, unix.MNT_DETACH) }()
	if err := os.Link(bad, filepath.Join(elsewhere, "across")); !errors.Is(err, unix.EXDEV) {
		t.Errorf("a link from mount to mount: %v", err)
	}
	if err := os.Link(filepath.Join(elsewhere, "bad"), filepath.Join(elsewhere, "linked")); err != nil {
		t.Fatal(err)
	}
	f.want(filepath.Join(elsewhere, "linked"), false)
	f.want(filepath.Join(f.dir, "linked"), false)
}
