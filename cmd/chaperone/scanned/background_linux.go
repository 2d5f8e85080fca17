package scanned

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Of ioprio_set(2): one thread, and the class that is served when nobody else wants the disk.
const (
	ioprioProcess = 1
	ioprioIdle    = 3 << 13
	leastNice     = 19
)

// Background makes all threads of this process, and those and the children that they start, give way to everybody else: processor and disk.
func Background() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("background: %w", err)
	}
	var errs []error
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		errs = append(errs, unix.Setpriority(unix.PRIO_PROCESS, id, leastNice))
		if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioprioProcess, uintptr(id), ioprioIdle); errno != 0 && errno != unix.ESRCH {
			errs = append(errs, errno)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("background: %w", err)
	}
	return nil
}

// OnBattery reports whether this machine runs on its battery: one discharges, and no mains is on line. sys is where sysfs is.
func OnBattery(sys string) bool {
	supplies, err := filepath.Glob(filepath.Join(sys, "class/power_supply/*"))
	if err != nil {
		return false
	}
	discharging := false
	for _, s := range supplies {
		switch attribute(s, "type") {
		case "Mains", "USB":
			if attribute(s, "online") == "1" {
				return false
			}
		case "Battery":
			discharging = discharging || attribute(s, "status") == "Discharging" && attribute(s, "scope") != "Device" // of a mouse
		}
	}
	return discharging
}

func attribute(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
