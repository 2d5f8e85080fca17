package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// confine gives up what the child does not need, the strictest measure last, and says what it could not give up.
func confine(memory uint64) Status {
	var s Status
	debug.SetMemoryLimit(int64(memory / 4 * 3))
	s.Limits = reason(limit(memory))
	if os.Geteuid() == 0 {
		s.User = reason(dropRoot())
	}
	s.Landlock = reason(restrictFiles())
	s.Seccomp = reason(restrictCalls())
	return s
}

// restrictFiles closes the file system and the network with Landlock, as far as this kernel knows how to.
func restrictFiles() error {
	version, err := llsys.LandlockGetABIVersion()
	if err != nil {
		return fmt.Errorf("the kernel has no Landlock (%w)", err)
	}
	if version < 1 {
		return errors.New("the kernel has no Landlock")
	}
	if err := landlock.V11.BestEffort().Restrict(); err != nil {
		return err
	}
	return nil
}

// allowedCalls is what the Go runtime and reading of open descriptors need. clone is for threads: see restrictCalls.
func allowedCalls() []string {
	return []string{
		"read", "write", "pread64", "readv", "writev", "lseek", "fstat", "newfstat", "close", "recvmsg", "fcntl",
		"mmap", "munmap", "mprotect", "madvise", "brk", "mremap", "mincore",
		"futex", "nanosleep", "clock_nanosleep", "clock_gettime", "gettimeofday", "sched_yield", "sched_getaffinity",
		"getpid", "gettid", "tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
		"exit", "exit_group", "epoll_ctl", "epoll_pwait", "epoll_wait", "epoll_create1", "eventfd2",
		"getrandom", "set_robust_list", "rseq", "restart_syscall", "poll", "ppoll",
		"timer_create", "timer_settime", "timer_delete", "setitimer", "membarrier", "getrusage",
	}
}

// restrictCalls installs the filter on all threads: what is not listed answers EPERM. New processes are refused, threads are not.
func restrictCalls() error {
	if !seccomp.Supported() {
		return errors.New("the kernel has no seccomp filters")
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	var names []string
	for _, name := range allowedCalls() {
		if _, known := info.SyscallNames[name]; known {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	threads := seccomp.NameWithConditions{Name: "clone", Conditions: seccomp.ArgumentConditions{
		{Argument: 0, Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD},
	}}
	groups := []seccomp.SyscallGroup{
		{Action: seccomp.ActionAllow, Names: names, NamesWithCondtions: []seccomp.NameWithConditions{threads}},
		// The C library, in builds that have it, starts threads with clone when clone3 is not there.
		{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: []string{"clone3"}},
	}
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true, Flag: seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: groups},
	})
}
