package sandbox

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deniedCalls are the classes of system calls that a hostile file would want, with arguments that would be refused with another error, or
// do no harm, if the filter let them through.
func deniedCalls() []struct {
	class  string
	number uintptr
	args   [3]uintptr
} {
	path := uintptr(unsafe.Pointer(unsafe.StringData("/etc/passwd\x00")))
	minusOne := ^uintptr(0)
	return []struct {
		class  string
		number uintptr
		args   [3]uintptr
	}{
		{"files: openat", unix.SYS_OPENAT, [3]uintptr{minusOne, path, 0}},
		{"files: openat2", unix.SYS_OPENAT2, [3]uintptr{minusOne, path, 0}},
		{"files: getdents64", unix.SYS_GETDENTS64, [3]uintptr{minusOne, 0, 0}},
		{"files: unlinkat", unix.SYS_UNLINKAT, [3]uintptr{minusOne, 0, 0}},
		{"files: mkdirat", unix.SYS_MKDIRAT, [3]uintptr{minusOne, 0, 0}},
		{"files: renameat2", unix.SYS_RENAMEAT2, [3]uintptr{minusOne, 0, minusOne}},
		{"files: linkat", unix.SYS_LINKAT, [3]uintptr{minusOne, 0, minusOne}},
		{"files: symlinkat", unix.SYS_SYMLINKAT, [3]uintptr{0, minusOne, 0}},
		{"files: fchmod", unix.SYS_FCHMOD, [3]uintptr{minusOne, 0, 0}},
		{"files: fchown", unix.SYS_FCHOWN, [3]uintptr{minusOne, 0, 0}},
		{"files: ftruncate", unix.SYS_FTRUNCATE, [3]uintptr{minusOne, 0, 0}},
		{"files: name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT, [3]uintptr{minusOne, 0, 0}},
		{"files: memfd_create", unix.SYS_MEMFD_CREATE, [3]uintptr{0, 0, 0}},
		{"files: ioctl", unix.SYS_IOCTL, [3]uintptr{minusOne, 0, 0}},
		{"network: internet socket", unix.SYS_SOCKET, [3]uintptr{unix.AF_INET, unix.SOCK_STREAM, 0}},
		{"network: unix socket", unix.SYS_SOCKET, [3]uintptr{unix.AF_UNIX, unix.SOCK_STREAM, 0}},
		{"network: netlink", unix.SYS_SOCKET, [3]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, 0}},
		{"network: packets", unix.SYS_SOCKET, [3]uintptr{unix.AF_PACKET, unix.SOCK_RAW, 0}},
		{"network: socketpair", unix.SYS_SOCKETPAIR, [3]uintptr{0, 0, 0}},
		{"network: connect", unix.SYS_CONNECT, [3]uintptr{minusOne, 0, 0}},
		{"network: sendmsg", unix.SYS_SENDMSG, [3]uintptr{minusOne, 0, 0}},
		{"network: sendto", unix.SYS_SENDTO, [3]uintptr{minusOne, 0, 0}},
		{"programs: execve", unix.SYS_EXECVE, [3]uintptr{0, 0, 0}},
		{"programs: execveat", unix.SYS_EXECVEAT, [3]uintptr{minusOne, 0, 0}},
		{"processes: new one", unix.SYS_CLONE, [3]uintptr{0, 0, 0}},
		{"processes: kill", unix.SYS_KILL, [3]uintptr{minusOne >> 1, 0, 0}},
		{"processes: pidfd_open", unix.SYS_PIDFD_OPEN, [3]uintptr{1, 0, 0}},
		{"processes: ptrace", unix.SYS_PTRACE, [3]uintptr{minusOne, 0, 0}},
		{"processes: process_vm_readv", unix.SYS_PROCESS_VM_READV, [3]uintptr{minusOne, 0, 0}},
		{"rights: setuid", unix.SYS_SETUID, [3]uintptr{0, 0, 0}},
		{"rights: capset", unix.SYS_CAPSET, [3]uintptr{0, 0, 0}},
		{"rights: prctl", unix.SYS_PRCTL, [3]uintptr{minusOne, 0, 0}},
		{"rights: seccomp", unix.SYS_SECCOMP, [3]uintptr{minusOne, 0, 0}},
		{"rights: prlimit64", unix.SYS_PRLIMIT64, [3]uintptr{0, minusOne, 0}},
		{"rights: keyctl", unix.SYS_KEYCTL, [3]uintptr{minusOne, 0, 0}},
		{"namespaces: unshare", unix.SYS_UNSHARE, [3]uintptr{minusOne, 0, 0}},
		{"namespaces: setns", unix.SYS_SETNS, [3]uintptr{minusOne, 0, 0}},
		{"namespaces: mount", unix.SYS_MOUNT, [3]uintptr{0, 0, 0}},
		{"namespaces: chroot", unix.SYS_CHROOT, [3]uintptr{0, 0, 0}},
		{"kernel: bpf", unix.SYS_BPF, [3]uintptr{minusOne, 0, 0}},
		{"kernel: perf_event_open", unix.SYS_PERF_EVENT_OPEN, [3]uintptr{0, 0, 0}},
		{"kernel: io_uring_setup", unix.SYS_IO_URING_SETUP, [3]uintptr{0, 0, 0}},
		{"kernel: userfaultfd", unix.SYS_USERFAULTFD, [3]uintptr{minusOne, 0, 0}},
		{"kernel: init_module", unix.SYS_INIT_MODULE, [3]uintptr{0, 0, 0}},
		{"kernel: inotify_init1", unix.SYS_INOTIFY_INIT1, [3]uintptr{minusOne, 0, 0}},
		{"sharing: shmget", unix.SYS_SHMGET, [3]uintptr{0, 0, 0}},
		{"sharing: msgget", unix.SYS_MSGGET, [3]uintptr{minusOne, 0, 0}},
		{"sharing: pipe2", unix.SYS_PIPE2, [3]uintptr{0, 0, 0}},
		{"clock: settimeofday", unix.SYS_SETTIMEOFDAY, [3]uintptr{minusOne, minusOne, 0}},
	}
}

// tryCalls makes every denied call in the child and answers with what did not end in EPERM.
func tryCalls(j *Job) error {
	var through []string
	for _, c := range deniedCalls() {
		if _, _, errno := syscall.RawSyscall(c.number, c.args[0], c.args[1], c.args[2]); errno != unix.EPERM {
			through = append(through, fmt.Sprintf("%s (%v)", c.class, errno))
		}
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_CLONE3, 0, 0, 0); errno != unix.ENOSYS { // so that the C library falls back to clone
		through = append(through, fmt.Sprintf("clone3 (%v)", errno))
	}
	return j.Answer([]byte(strings.Join(through, ", ")))
}

// TestDeniedCalls tries each class of calls in a child.
func TestDeniedCalls(t *testing.T) {
	p := newPool(t, Options{Timeout: 2 * time.Minute})
	status, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.Seccomp != "" {
		t.Skip("seccomp is not available here: " + status.Seccomp)
	}
	got, err := collect(p, "calls", openTemp(t, "x"), "")
	if err != nil {
		t.Fatal(err)
	}
	if got != "" {
		t.Errorf("went through: %s", got)
	}
}

// TestRuntimeLivesOn needs what a Go program needs in the child: threads, memory, timers, a panic that is caught.
func TestRuntimeLivesOn(t *testing.T) {
	p := newPool(t, Options{Timeout: 2 * time.Minute})
	for range 3 {
		if got, err := collect(p, "live", openTemp(t, "x"), ""); err != nil || got != "lived" {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// live uses the runtime as parsers do.
func live(j *Job) error {
	results := make(chan int)
	for i := range 8 {
		go func() {
			b := make([]byte, 1<<20)
			for k := range b {
				b[k] = byte(i)
			}
			select {
			case results <- len(b):
			case <-time.After(2 * time.Minute):
			}
		}()
	}
	total := 0
	for range 8 {
		total += <-results
	}
	if err := caught(); err == nil || total != 8<<20 {
		return fmt.Errorf("%d bytes, %w", total, err)
	}
	return j.Answer([]byte("lived"))
}

func caught() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("caught")
		}
	}()
	var none *Job
	return none.Answer(nil)
}
