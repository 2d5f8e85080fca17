package handle

import (
	"errors"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// unnamed: the owner cannot be asked.
func unnamed(uint32) string { return "" }

// nameSurrogate is the bit of a reparse tag (ntifs.h) which says that it stands for another place.
const nameSurrogate = 0x20000000

// away are attributes of files whose content is kept elsewhere and would be fetched by reading.
const away = windows.FILE_ATTRIBUTE_OFFLINE | windows.FILE_ATTRIBUTE_RECALL_ON_OPEN | windows.FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS

func open(dir *os.File, name, path string) (*os.File, error) {
	return Reach(dir, name, path, windows.FILE_GENERIC_READ)
}

// Reach opens name in dir as Open does, with other rights.
func Reach(dir *os.File, name, path string, access uint32) (*os.File, error) {
	f, err := Create(dir, name, path, access, windows.FILE_OPEN)
	if err != nil {
		return nil, err
	}
	a, err := attributes(f)
	switch {
	case err == nil && a.attributes&windows.FILE_ATTRIBUTE_REPARSE_POINT == 0:
		return f, nil
	case err == nil && a.tag&nameSurrogate != 0:
		err = ErrLink
	case err == nil && a.attributes&away != 0:
		return f, nil // Stat says so
	case err == nil: // the file system keeps the content in a way of its own: read through what knows it
		return through(f, dir, name, path, access)
	}
	return nil, errors.Join(&os.PathError{Op: "open", Path: path, Err: err}, f.Close())
}

// through opens a file again by which a filter of the file system stands, and makes sure that it is the same.
func through(f, dir *os.File, name, path string, access uint32) (*os.File, error) {
	defer f.Close()
	g, err := create(dir, name, path, access, windows.FILE_OPEN, 0)
	if err != nil {
		return nil, err
	}
	a, err := Stat(f)
	b, err2 := Stat(g)
	if err = errors.Join(err, err2); err == nil && (a.Dev != b.Dev || a.Ino != b.Ino) {
		err = &os.PathError{Op: "open", Path: path, Err: ErrLink}
	}
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Create opens or makes name in dir, with a disposition of NtCreateFile(2). What stands there is opened itself, whatever it stands for.
func Create(dir *os.File, name, path string, access, disposition uint32) (*os.File, error) {
	return create(dir, name, path, access, disposition, windows.FILE_OPEN_REPARSE_POINT)
}

func create(dir *os.File, name, path string, access, disposition, options uint32) (*os.File, error) {
	fail := func(err error) (*os.File, error) { return nil, &os.PathError{Op: "open", Path: path, Err: err} }
	attr := &windows.OBJECT_ATTRIBUTES{Attributes: windows.OBJ_CASE_INSENSITIVE}
	if dir == nil {
		name = native(name)
	} else {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, `\/`) {
			return fail(windows.ERROR_INVALID_NAME)
		}
		attr.RootDirectory = windows.Handle(dir.Fd())
	}
	attr.Length = uint32(unsafe.Sizeof(*attr))
	var err error
	if attr.ObjectName, err = windows.NewNTUnicodeString(name); err != nil {
		return fail(err)
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	var h windows.Handle
	var done windows.IO_STATUS_BLOCK
	options |= windows.FILE_SYNCHRONOUS_IO_NONALERT | windows.FILE_OPEN_FOR_BACKUP_INTENT
	if err := windows.NtCreateFile(&h, access|windows.SYNCHRONIZE, attr, &done, nil, windows.FILE_ATTRIBUTE_NORMAL, share, disposition, options, 0, 0); err != nil {
		return fail(Errno(err))
	}
	return os.NewFile(uintptr(h), path), nil
}

// Errno is the error that the rest of the world knows for what the kernel answered.
func Errno(err error) error {
	var status windows.NTStatus
	if errors.As(err, &status) {
		return status.Errno()
	}
	return err
}

// native is the kernel's name of an absolute path, which has no limit of 260 characters and may end in a dot.
func native(path string) string {
	switch {
	case strings.HasPrefix(path, `\\?\`), strings.HasPrefix(path, `\\.\`):
		return `\??\` + path[4:]
	case strings.HasPrefix(path, `\\`):
		return `\??\UNC\` + path[2:]
	}
	return `\??\` + path
}

type attributeTag struct{ attributes, tag uint32 }

func attributes(f *os.File) (attributeTag, error) {
	var a attributeTag
	err := windows.GetFileInformationByHandleEx(windows.Handle(f.Fd()), windows.FileAttributeTagInfo, (*byte)(unsafe.Pointer(&a)), uint32(unsafe.Sizeof(a)))
	return a, err
}

func statAt(dir *os.File, name string) (Info, error) {
	f, err := Create(dir, name, name, windows.FILE_READ_ATTRIBUTES, windows.FILE_OPEN)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	return stat(f)
}

func stat(f *os.File) (Info, error) {
	h := windows.Handle(f.Fd())
	if kind, err := windows.GetFileType(h); err == nil && kind != windows.FILE_TYPE_DISK {
		return Info{Kind: Special}, nil
	}
	var d windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &d); err != nil {
		return Info{}, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	i := Info{Dev: uint64(d.VolumeSerialNumber), Ino: uint64(d.FileIndexHigh)<<32 | uint64(d.FileIndexLow), Size: int64(d.FileSizeHigh)<<32 | int64(d.FileSizeLow),
		Kind: Regular, Modified: d.LastWriteTime.Nanoseconds(), Accessed: d.LastAccessTime.Nanoseconds(), Links: uint64(d.NumberOfLinks), SID: owner(h)}
	if d.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY != 0 {
		i.Kind = Folder
	}
	if i.Stored = i.Size; d.FileAttributes&(windows.FILE_ATTRIBUTE_SPARSE_FILE|windows.FILE_ATTRIBUTE_COMPRESSED) != 0 {
		i.Stored = allocated(h, i.Size)
	}
	if d.FileAttributes&away != 0 {
		i.Away = "it is kept elsewhere, and reading would fetch it"
	}
	if d.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		if a, err := attributes(f); err == nil && a.tag&nameSurrogate != 0 {
			i.Kind = Link
		}
	}
	return i, nil
}

// allocated is what a file with holes takes of its size.
func allocated(h windows.Handle, size int64) int64 {
	var standard struct { // FILE_STANDARD_INFO
		allocation, end int64
		links           uint32
		rest            [4]byte
	}
	if err := windows.GetFileInformationByHandleEx(h, windows.FileStandardInfo, (*byte)(unsafe.Pointer(&standard)), uint32(unsafe.Sizeof(standard))); err != nil {
		return size
	}
	return min(size, standard.allocation)
}

// owner asks whose an opened file is; opened for its attributes alone it cannot be asked.
func owner(h windows.Handle) string {
	sd, err := windows.GetSecurityInfo(h, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return ""
	}
	sid, _, err := sd.Owner()
	if err != nil || sid == nil {
		return ""
	}
	return sid.String()
}

// Mounted returns the volume that is mounted in the folder at path, "" when there is none: a junction leads to another folder of this machine.
func Mounted(path string) string {
	target, err := os.Readlink(path)
	if err != nil || !strings.HasPrefix(target, `\\?\Volume{`) {
		return ""
	}
	return target
}
