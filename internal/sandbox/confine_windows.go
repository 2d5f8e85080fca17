package sandbox

import (
	"fmt"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/windows"
)

// confine gives up what the child does not need, as far as Windows knows how to. The parent has put it in a job before it sends the first request.
func confine(memory uint64) Status {
	debug.SetMemoryLimit(int64(memory / 4 * 3))
	return Status{
		User:     reason(lowIntegrity()),
		Landlock: "Windows has no such thing: files may be read as the parent may, and the network is open",
		Seccomp:  "Windows has no such thing",
	}
}

// lowIntegrity makes this process one that may not write to what others of its user may: files, registry, processes. It gives up its privileges.
func lowIntegrity() error {
	var token windows.Token
	if err := windows.OpenProcessToken(windows.CurrentProcess(), windows.TOKEN_ADJUST_DEFAULT|windows.TOKEN_ADJUST_PRIVILEGES|windows.TOKEN_QUERY, &token); err != nil {
		return fmt.Errorf("open token: %w", err)
	}
	defer token.Close()
	if err := windows.AdjustTokenPrivileges(token, true, nil, 0, nil, nil); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	low, err := windows.CreateWellKnownSid(windows.WinLowLabelSid)
	if err != nil {
		return fmt.Errorf("low integrity: %w", err)
	}
	label := windows.Tokenmandatorylabel{Label: windows.SIDAndAttributes{Sid: low, Attributes: windows.SE_GROUP_INTEGRITY}}
	if err := windows.SetTokenInformation(token, windows.TokenIntegrityLevel, (*byte)(unsafe.Pointer(&label)), label.Size()); err != nil {
		return fmt.Errorf("low integrity: %w", err)
	}
	return nil
}
