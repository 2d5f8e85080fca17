package scanned

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const leastNice = 19

// Background makes this process give way to everybody else who wants the processor.
func Background() error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, leastNice); err != nil {
		return fmt.Errorf("background: %w", err)
	}
	return nil
}

// OnBattery is not told by a folder on macOS: nothing waits for the mains.
func OnBattery(string) bool { return false }
