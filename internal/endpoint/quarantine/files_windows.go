package quarantine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"

	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
)

// errVolume says that a file is not moved: a copy would lose what Windows keeps beside a file's content.
var errVolume = errors.New("it is on another volume than the quarantine: give a data directory on that volume (--data, --quarantine)")

const folderAccess = windows.FILE_GENERIC_READ | windows.FILE_TRAVERSE

// openDir opens a folder by its absolute path, one component after the other, and follows neither link nor junction.
func openDir(path string) (*os.File, error) {
	volume := filepath.VolumeName(path)
	if !filepath.IsAbs(path) || volume == "" {
		return nil, errors.New("path is not absolute")
	}
	dir, err := handle.Reach(nil, volume+`\`, volume+`\`, folderAccess)
	if err != nil {
		return nil, err
	}
	at := volume
	for name := range strings.SplitSeq(path[len(volume):], `\`) {
		if name == "" {
			continue
		}
		at += `\` + name
		next, err := handle.Reach(dir, name, at, folderAccess)
		dir.Close() // it was only read
		if err != nil {
			return nil, fmt.Errorf("open folder %s: %w", name, err)
		}
		if info, err := handle.Stat(next); err != nil || info.Kind != handle.Folder {
			return nil, errors.Join(fmt.Errorf("open folder %s: it is none", name), err, next.Close())
		}
		dir = next
	}
	return dir, nil
}

// openFile opens a regular file in dir: never a link. Reading does not move the time of last access back, so it is set on the way out.
func openFile(dir *os.File, name string) (*os.File, error) {
	f, err := handle.Open(dir, name, name)
	if errors.Is(err, handle.ErrLink) {
		return nil, ErrChanged
	}
	return f, err
}

func openStore(path string) (*os.File, error) {
	if err := handle.Private(path); err != nil {
		return nil, err
	}
	return openDir(path)
}

// protect: openStore has.
func protect(*os.File) error { return nil }

func writeNew(dir *os.File, name string) (*os.File, error) {
	return handle.Create(dir, name, name, windows.FILE_GENERIC_WRITE, windows.FILE_OVERWRITE_IF)
}

// rename moves an entry and replaces nothing.
func rename(from *os.File, name string, to *os.File, as string) error {
	return move(from, name, to, as, false)
}

func replace(dir *os.File, name, as string) error { return move(dir, name, dir, as, true) }

// move renames what is opened by name: FILE_RENAME_INFORMATION (ntifs.h) has a flag, a folder, a length in bytes and a name.
func move(from *os.File, name string, to *os.File, as string, over bool) error {
	f, err := handle.Create(from, name, name, windows.DELETE, windows.FILE_OPEN)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := windows.UTF16FromString(as)
	if err != nil {
		return err
	}
	text = text[:len(text)-1]
	const word = 8 // on the processors of 64 bits that we build for
	b := make([]byte, 2*word+4+2*len(text))
	if over {
		b[0] = 1
	}
	binary.LittleEndian.PutUint64(b[word:], uint64(to.Fd()))
	binary.LittleEndian.PutUint32(b[2*word:], uint32(2*len(text)))
	for i, u := range text {
		binary.LittleEndian.PutUint16(b[2*word+4+2*i:], u)
	}
	var done windows.IO_STATUS_BLOCK
	if err := windows.NtSetInformationFile(windows.Handle(f.Fd()), &done, &b[0], uint32(len(b)), windows.FileRenameInformation); err != nil {
		return &os.LinkError{Op: "rename", Old: name, New: as, Err: handle.Errno(err)}
	}
	return nil
}

func unlink(dir *os.File, name string) error {
	f, err := handle.Create(dir, name, name, windows.DELETE|windows.FILE_WRITE_ATTRIBUTES, windows.FILE_OPEN)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := handle.Writable(f); err != nil {
		return &os.PathError{Op: "remove", Path: name, Err: err}
	}
	remove := byte(1)
	if err := windows.SetFileInformationByHandle(windows.Handle(f.Fd()), windows.FileDispositionInfo, &remove, 1); err != nil {
		return &os.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}

// syncDir: NTFS keeps a journal of names, and folders cannot be flushed by those who only read them.
func syncDir(*os.File) error { return nil }

// otherVolume is asked after a rename: copies are not made here, and move says why.
func otherVolume(err error) bool { return errors.Is(err, windows.ERROR_NOT_SAME_DEVICE) }

func copyTo(*os.File, string, *os.File, Item) error { return errVolume }

// meta writes down all of a file that must come back. Streams beside the content travel with the file.
func meta(f *os.File, i *Item) error {
	var d windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &d); err != nil {
		return err
	}
	var err error
	i.Attributes, i.Created = d.FileAttributes, d.CreationTime.Nanoseconds()
	i.Security, err = handle.Security(f)
	return err
}

// lock lets only administrators use a file that was taken: its own access list came with it, and counts more than that of the folder for whoever
// knows the name.
func lock(dir *os.File, name string, was handle.Info) error {
	return reopened(dir, name, was, windows.READ_CONTROL|windows.WRITE_DAC, handle.LockTaken)
}

// unlock makes a file what it was, before it goes back.
func unlock(dir *os.File, f *os.File, i Item) error {
	was, err := handle.Stat(f)
	if err != nil {
		return err
	}
	return reopened(dir, i.ID, was, windows.READ_CONTROL|windows.WRITE_DAC|windows.FILE_READ_ATTRIBUTES|windows.FILE_WRITE_ATTRIBUTES, func(g *os.File) error {
		created, accessed, modified := windows.NsecToFiletime(i.Created), windows.NsecToFiletime(i.Accessed), windows.NsecToFiletime(i.Modified)
		if err := windows.SetFileTime(windows.Handle(g.Fd()), &created, &accessed, &modified); err != nil {
			return fmt.Errorf("set times: %w", err)
		}
		if i.Security == "" {
			return nil
		}
		return handle.SetSecurity(g, i.Security)
	})
}

// reopened opens a file that is held open with other rights.
func reopened(dir *os.File, name string, was handle.Info, access uint32, do func(*os.File) error) error {
	g, err := handle.Create(dir, name, name, access, windows.FILE_OPEN)
	if err != nil {
		return err
	}
	defer g.Close()
	is, err := handle.Stat(g)
	if err != nil {
		return err
	}
	if is.Dev != was.Dev || is.Ino != was.Ino {
		return ErrChanged
	}
	return do(g)
}
