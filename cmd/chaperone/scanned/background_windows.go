package scanned

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// backgroundBegin is PROCESS_MODE_BACKGROUND_BEGIN.
const backgroundBegin = 0x00100000

// Background makes this process give way to everybody else: processor, disk and memory.
func Background() error {
	if err := windows.SetPriorityClass(windows.CurrentProcess(), backgroundBegin); err != nil {
		return fmt.Errorf("background: %w", err)
	}
	return nil
}

// OnBattery is not told by a folder on Windows: nothing waits for the mains.
func OnBattery(string) bool { return false }
