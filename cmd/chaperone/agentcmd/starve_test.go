package agentcmd_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hogs use up the processor that a start is to starve on.
const hogs = 5

// lastCPU is the processor for that.
func lastCPU() (unix.CPUSet, error) {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return one, err
	}
	for i := len(all)*64 - 1; i >= 0; i-- {
		if all.IsSet(i) {
			one.Set(i)
			break
		}
	}
	return one, nil
}

// startIdle starts a program in the place of this process, at the lowest priority, beside hogs. It writes a byte just before.
func startIdle(path string) int {
	runtime.LockOSThread()
	cpu, err := lastCPU()
	if err != nil {
		return attackBroken
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return attackBroken
	}
	const idle = 5
	var parameters [1]int32
	if _, _, errno := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, idle, uintptr(unsafe.Pointer(&parameters[0]))); errno != 0 {
		return attackCannot
	}
	if err := unix.SchedSetaffinity(0, &cpu); err != nil {
		return attackBroken
	}
	if _, err := os.Stdout.Write([]byte{'x'}); err != nil {
		return attackBroken
	}
	if err := execveat(fd, unix.AT_EMPTY_PATH); errors.Is(err, unix.EPERM) || errors.Is(err, unix.ETXTBSY) || errors.Is(err, unix.EAGAIN) {
		return attackRefused
	}
	return attackBroken
}

// starve lets a good program start as slowly as it can, and writes bad over it between the agent's answer and the moment from which the kernel
// forbids that: 1 when bad ran.
func starve(target, goodPath, badPath, rounds string) int {
	good, err1 := os.ReadFile(goodPath)
	bad, err2 := os.ReadFile(badPath)
	n, err3 := strconv.Atoi(rounds)
	cpu, err4 := lastCPU()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		fmt.Println(err)
		return attackBroken
	}
	for range hogs {
		hog := exec.Command("/bin/sh", "-c", "while :; do :; done")
		hog.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
		if err := hog.Start(); err != nil {
			return attackBroken
		}
		defer func() { _ = hog.Process.Kill(); _ = hog.Wait() }()
		if err := unix.SchedSetaffinity(hog.Process.Pid, &cpu); err != nil {
			return attackBroken
		}
	}
	for i := range n {
		code, took, err := starveOnce(target, good, bad, time.Duration(10+20*i)*time.Millisecond)
		fmt.Printf("written after %s: exit status %d, %v\n", took.Round(time.Millisecond), code, err)
		if code == 1 || err != nil {
			return code
		}
	}
	return 0
}

// starveOnce waits before it wants to write, so that the agent is asked about good.
func starveOnce(target string, good, bad []byte, wait time.Duration) (code int, took time.Duration, err error) {
	if err := os.WriteFile(target, good, 0o755); err != nil {
		return attackBroken, 0, err
	}
	cmd := exec.Command("/proc/self/exe", "attack-start-idle", target)
	cmd.Args[0] = os.Args[0]
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return attackBroken, 0, err
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		return attackBroken, 0, err
	}
	time.Sleep(wait)
	begun := time.Now()
	f, err := os.OpenFile(target, os.O_WRONLY, 0) // it waits for the end of the lease
	took = time.Since(begun)
	if err == nil {
		_, err1 := f.WriteAt(bad, 0)
		err = errors.Join(err1, f.Close())
	} else if errors.Is(err, unix.ETXTBSY) {
		err = nil // it runs already
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), took, err
}

// TestStarvedStart starts a program that may start so slowly that it can be written before the kernel runs it. The lease on it lasts as long.
func TestStarvedStart(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	f.start()
	good, bad := f.twoOfOneSize()
	rounds := "1"
	if os.Getenv("CHAPERONE_SOAK") == "1" {
		rounds = "30"
	}
	target := filepath.Join(f.dir, "starved")
	f.run("install", "-o", "1000", "-m", "755", good, target)
	cmd := exec.Command("/proc/self/exe", "attack-starve", target, good, bad, rounds)
	cmd.Args[0] = os.Args[0]
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if cmd.ProcessState.ExitCode() == attackCannot {
		t.Skip("this machine gives no lowest priority")
	}
	if err != nil {
		t.Error(err)
	}
	f.want(f.program("bad", messenger), false)
}
