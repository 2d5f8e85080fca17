package scan

import (
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/windows"

	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
	"github.com/chaperone-im/chaperone/internal/event"
)

// samePath reports whether two paths that are free of links are the same.
func samePath(a, b string) bool { return strings.EqualFold(a, b) }

// passBy says that a volume is mounted in a folder: no other path may lead to it. Symbolic links and junctions lead to what has a path of its own.
func (t *tree) passBy(kind fs.FileMode, path, real string) {
	if kind&fs.ModeIrregular == 0 {
		return
	}
	if volume := handle.Mounted(real); volume != "" {
		t.say(path, event.ReasonUnreadable, "the volume "+volume+" is mounted here and not entered: name it to scan it")
	}
}

// fileSystem tells nothing here: whoever may write a file sets the time of its last change as he likes, so every file is looked into each time.
func fileSystem(*os.File) (kernel, local bool) { return false, false }

// look finds the drive whose volume has that serial number. A disk on USB calls itself fixed.
func (p *places) look(device uint64) string {
	drives, err := windows.GetLogicalDrives()
	if err != nil {
		return ""
	}
	for letter := range 26 {
		if drives&(1<<letter) == 0 {
			continue
		}
		root, err := windows.UTF16PtrFromString(string(rune('A'+letter)) + `:\`)
		if err != nil {
			continue
		}
		var serial uint32
		if err := windows.GetVolumeInformation(root, nil, 0, &serial, nil, nil, nil, 0); err != nil || uint64(serial) != device {
			continue
		}
		switch windows.GetDriveType(root) {
		case windows.DRIVE_REMOVABLE, windows.DRIVE_CDROM:
			return mediaRemovable
		case windows.DRIVE_FIXED:
			return mediaFixed
		}
	}
	return ""
}
