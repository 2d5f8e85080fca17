package handle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// privateList lets administrators and the system in, and nobody else.
const privateList = "D:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)"

// Private makes sure that only administrators enter a folder, which it makes if need be. Whoever is none cannot, and a folder that another user
// made is refused: he may have it open.
func Private(path string) error {
	if err := Administrator(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	f, err := Reach(nil, path, path, windows.FILE_GENERIC_READ|windows.WRITE_DAC)
	if err != nil {
		return err
	}
	defer f.Close()
	return Lock(f)
}

// Lock lets only administrators use an opened file or folder, which must be an administrator's or this user's own.
func Lock(f *os.File) error {
	h := windows.Handle(f.Fd())
	mine, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return err
	}
	if o := owner(h); o != mine.User.Sid.String() && !isAdministrator(o) {
		return fmt.Errorf("%s belongs to another user (%s)", f.Name(), o)
	}
	return LockTaken(f)
}

// LockTaken lets only administrators use an opened file, whoever it belongs to.
func LockTaken(f *os.File) error { return SetSecurity(f, privateList) }

// SetSecurity gives an opened file the access list of a security descriptor (SDDL), exactly.
func SetSecurity(f *os.File, sddl string) error {
	sd, err := windows.SecurityDescriptorFromString(sddl)
	if err != nil {
		return fmt.Errorf("access list %q: %w", sddl, err)
	}
	if err := windows.SetKernelObjectSecurity(windows.Handle(f.Fd()), windows.DACL_SECURITY_INFORMATION, sd); err != nil {
		return fmt.Errorf("set access list of %s: %w", f.Name(), err)
	}
	return nil
}

// Security returns owner, group and access list of an opened file, as SDDL.
func Security(f *os.File) (string, error) {
	sd, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT,
		windows.OWNER_SECURITY_INFORMATION|windows.GROUP_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return "", fmt.Errorf("access list of %s: %w", f.Name(), err)
	}
	return sd.String(), nil
}

// Administrator returns an error unless this process has the rights of an administrator.
func Administrator() error {
	sid, err := windows.CreateWellKnownSid(windows.WinBuiltinAdministratorsSid)
	if err != nil {
		return err
	}
	member, err := windows.Token(0).IsMember(sid)
	if err == nil && !member {
		err = errors.New("it needs an administrator: run this from an elevated prompt, or as SYSTEM")
	}
	return err
}

func isAdministrator(sid string) bool { return OnlyAdministrators(sid, nil, false) == nil }

// Guarded returns ErrWritable unless only administrators may write the file at path, put others beside it, or put another folder in the place of
// one of those that lead to it.
func Guarded(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s: path is not absolute", path)
	}
	for p, depth := filepath.Clean(path), 0; ; depth++ {
		f, err := Reach(nil, p, p, windows.READ_CONTROL)
		if err != nil {
			return err
		}
		sd, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
		if err == nil {
			err = guarded(sd, depth > 1)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		up := filepath.Dir(p)
		if up == p {
			return nil
		}
		p = up
	}
}

func guarded(sd *windows.SECURITY_DESCRIPTOR, above bool) error {
	sid, _, err := sd.Owner()
	if err != nil || sid == nil {
		return errors.Join(ErrWritable, err)
	}
	acl, _, err := sd.DACL()
	if err != nil || acl == nil { // none at all: everybody may do everything
		return errors.Join(ErrWritable, err)
	}
	var list []Access
	for n := range uint32(acl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(acl, n, &ace); err != nil {
			return errors.Join(ErrWritable, err)
		}
		a := Access{Type: ace.Header.AceType, Flags: ace.Header.AceFlags, Mask: uint32(ace.Mask)}
		if a.Type == typeAllowed || a.Type == typeDenied {
			a.SID = (*windows.SID)(unsafe.Pointer(&ace.SidStart)).String()
		}
		list = append(list, a)
	}
	return OnlyAdministrators(sid.String(), list, above)
}

// Writable takes from an opened file the attribute by which it is only read, and cannot be removed.
func Writable(f *os.File) error {
	basic := struct { // FILE_BASIC_INFO: times of 0 stay as they are
		times      [4]int64
		attributes uint32
	}{attributes: windows.FILE_ATTRIBUTE_NORMAL}
	return windows.SetFileInformationByHandle(windows.Handle(f.Fd()), windows.FileBasicInfo, (*byte)(unsafe.Pointer(&basic)), uint32(unsafe.Sizeof(basic)))
}
