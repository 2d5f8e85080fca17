package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// link is the parent's end of the way to a child: two pipes, and the right to put open files into the child's table. Pipes wait for ever, so a
// clock ends the child when waiting does.
type link struct {
	in      io.WriteCloser
	out     io.ReadCloser
	process windows.Handle
	job     windows.Handle

	mu    sync.Mutex
	clock *time.Timer
	late  bool
}

// connect starts a child in a job of its own: with a limit of memory, without other processes, and dead when we are.
func connect(cmd *exec.Cmd, memory uint64) (*link, error) {
	l := &link{}
	var err error
	if l.job, err = newJob(memory); err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_NO_WINDOW}
	if l.in, err = cmd.StdinPipe(); err == nil {
		l.out, err = cmd.StdoutPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, windows.CloseHandle(l.job))
	}
	const rights = windows.PROCESS_DUP_HANDLE | windows.PROCESS_SET_QUOTA | windows.PROCESS_TERMINATE
	if l.process, err = windows.OpenProcess(rights, false, uint32(cmd.Process.Pid)); err == nil {
		err = windows.AssignProcessToJobObject(l.job, l.process)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("put the child into a job: %w", err), cmd.Process.Kill(), cmd.Wait(), l.Close())
	}
	return l, nil
}

func newJob(memory uint64) (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, fmt.Errorf("make a job: %w", err)
	}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{ProcessMemoryLimit: uintptr(memory)}
	limits.BasicLimitInformation.ActiveProcessLimit = 1
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_PROCESS_MEMORY | windows.JOB_OBJECT_LIMIT_ACTIVE_PROCESS |
		windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | windows.JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION
	ui := windows.JOBOBJECT_BASIC_UI_RESTRICTIONS{UIRestrictionsClass: windows.JOB_OBJECT_UILIMIT_DESKTOP | windows.JOB_OBJECT_UILIMIT_DISPLAYSETTINGS |
		windows.JOB_OBJECT_UILIMIT_EXITWINDOWS | windows.JOB_OBJECT_UILIMIT_GLOBALATOMS | windows.JOB_OBJECT_UILIMIT_HANDLES |
		windows.JOB_OBJECT_UILIMIT_READCLIPBOARD | windows.JOB_OBJECT_UILIMIT_SYSTEMPARAMETERS | windows.JOB_OBJECT_UILIMIT_WRITECLIPBOARD}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err == nil {
		_, err = windows.SetInformationJobObject(job, windows.JobObjectBasicUIRestrictions, uintptr(unsafe.Pointer(&ui)), uint32(unsafe.Sizeof(ui)))
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("limit a job: %w", err), windows.CloseHandle(job))
	}
	return job, nil
}

// Read reads what the child says.
func (l *link) Read(p []byte) (int, error) {
	n, err := l.out.Read(p)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.late {
			return n, os.ErrDeadlineExceeded
		}
	}
	return n, err
}

// Close ends the way, and with the job the child.
func (l *link) Close() error {
	l.rest()
	err := errors.Join(l.in.Close(), windows.CloseHandle(l.job))
	if l.process != 0 {
		err = errors.Join(err, windows.CloseHandle(l.process))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.job, l.process = 0, 0
	return err
}

// until sets when waiting ends, and the child with it; never, when the time is zero.
func (l *link) until(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clock != nil {
		l.clock.Stop()
	}
	l.late = false
	if t.IsZero() {
		return nil
	}
	l.clock = time.AfterFunc(time.Until(t), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.late = true
		if l.job != 0 {
			_ = windows.TerminateJobObject(l.job, 1) // else it has ended already
		}
	})
	return nil
}

// rest stops the clock.
func (l *link) rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clock != nil {
		l.clock.Stop()
	}
}

// send puts the file into the child's table, for reading alone, and writes the request with its place there.
func (l *link) send(head, body []byte, f *os.File) error {
	var theirs windows.Handle
	if err := windows.DuplicateHandle(windows.CurrentProcess(), windows.Handle(f.Fd()), l.process, &theirs, windows.FILE_GENERIC_READ, false, 0); err != nil {
		return fmt.Errorf("hand over the file: %w", err)
	}
	_, err := l.in.Write(append(binary.BigEndian.AppendUint64(head, uint64(theirs)), body...))
	return err
}

// ownBinary is the file of this process.
func ownBinary() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}
