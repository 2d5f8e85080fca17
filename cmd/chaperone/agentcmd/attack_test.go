package agentcmd_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// attack is what this test binary does as somebody who wants to get around the agent. It returns 0 when the attack did not succeed.
func attack(args []string) int {
	switch args[0] {
	case "attack-memfd":
		return memfd(args[1])
	case "attack-descriptor":
		return byDescriptor(args[1], args[2])
	case "attack-start-idle":
		return startIdle(args[1])
	case "attack-starve":
		return starve(args[1], args[2], args[3], args[4])
	case "attack-write":
		return race(args[1], args[2], args[3], args[4], false)
	case "attack-map":
		return race(args[1], args[2], args[3], args[4], true)
	}
	return 3
}

// memfd copies a program into memory and starts it from there: 1 when it started.
func memfd(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 3
	}
	fd, err := unix.MemfdCreate("x", 0)
	if err != nil {
		return 0
	}
	if _, err := unix.Write(fd, b); err != nil {
		return 3
	}
	err = exec.Command("/proc/self/fd/" + strconv.Itoa(fd)).Run()
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) {
		return 1
	}
	return 0
}

// race changes target between two programs of one size, good (exit status 0) and bad (exit status 1), by writing or through a shared mapping,
// while it starts it again and again: 1 when bad ran. It prints how often what happened.
func race(target, goodPath, badPath, rounds string, mapped bool) int {
	good, err1 := os.ReadFile(goodPath)
	bad, err2 := os.ReadFile(badPath)
	n, err3 := strconv.Atoi(rounds)
	if err := errors.Join(err1, err2, err3); err != nil || len(good) != len(bad) {
		fmt.Println(err, len(good), len(bad))
		return 3
	}
	change := change
	if mapped {
		change = changeMapped
	}
	var ran, refused, busy, won atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := exec.Command(target).Run()
				var exit *exec.ExitError
				switch {
				case err == nil:
					ran.Add(1)
				case errors.As(err, &exit) && exit.ExitCode() == 1:
					won.Add(1)
				case errors.Is(err, unix.EPERM):
					refused.Add(1)
				default:
					busy.Add(1)
				}
			}
		})
	}
	for i := range n {
		if err := change(target, good, bad, time.Duration(i%50)*20*time.Microsecond); err != nil {
			fmt.Println(err)
			return 3
		}
	}
	close(stop)
	wg.Wait()
	fmt.Printf("good ran %d times, %d refused, %d busy, bad ran %d times\n", ran.Load(), refused.Load(), busy.Load(), won.Load())
	if won.Load() > 0 {
		return 1
	}
	return 0
}

// change writes good, waits a moment as somebody else may look at it, and writes bad over it.
func change(target string, good, bad []byte, wait time.Duration) error {
	for _, b := range [][]byte{good, bad} {
		f, err := os.OpenFile(target, os.O_WRONLY, 0)
		for errors.Is(err, unix.ETXTBSY) {
			f, err = os.OpenFile(target, os.O_WRONLY, 0)
		}
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(b, 0); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		time.Sleep(wait)
	}
	return nil
}

// changeMapped does the same through a mapping whose pages were touched before, and lets go of it only at the end: no system call tells of the
// change.
func changeMapped(target string, good, bad []byte, wait time.Duration) error {
	f, err := os.OpenFile(target, os.O_RDWR, 0)
	for errors.Is(err, unix.ETXTBSY) {
		f, err = os.OpenFile(target, os.O_RDWR, 0)
	}
	if err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, len(good), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if bytes.Count(m, []byte{0}) < 0 { // it reads every page, which the compiler does not see through
		return errors.New("less than nothing")
	}
	copy(m, good)
	time.Sleep(wait)
	copy(m, bad)
	if err := unix.Munmap(m); err != nil {
		return err
	}
	time.Sleep(wait)
	return nil
}
