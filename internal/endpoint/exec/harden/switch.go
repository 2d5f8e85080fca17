package harden

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden/lsm"
)

// Part is a setting that can be switched here.
type Part string

// The parts.
const (
	Memory         Part = "memfd"      // nothing is started from memory
	Namespaces     Part = "namespaces" // nobody makes user namespaces
	Media          Part = "media"      // udisks mounts removable media noexec
	KernelPrograms Part = "programs"   // programs in the kernel refuse what the first two leave open; the agent loads them at each start of the machine
)

// Parts returns all parts that can be switched.
func Parts() []Part { return []Part{Memory, Namespaces, Media, KernelPrograms} }

// Errors of switching.
var (
	ErrPart    = errors.New("harden: there is no such part")
	ErrApplied = errors.New("harden: it is applied already")
	ErrNot     = errors.New("harden: it was not applied here")
	ErrAbsent  = errors.New("harden: this kernel does not have the setting")
	ErrChanged = errors.New("harden: it was changed since it was applied")
)

// Change is all that switching a part changes, with what was there before. It is kept as long as the part is applied, so that it can be taken
// back exactly.
type Change struct {
	Part   Part      `json:"part"`
	Time   time.Time `json:"time"`
	File   string    `json:"file"`           // that makes it last over the next boot; "" where the agent sees to that
	Text   string    `json:"text"`           // of the file
	Before *File     `json:"before"`         // the file, when there was one
	Folder bool      `json:"folder"`         // the file's folder was made for it
	Name   string    `json:"name,omitempty"` // of a setting of the running kernel
	From   string    `json:"from,omitempty"`
	To     string    `json:"to,omitempty"`
}

// File is a file as it was.
type File struct {
	Data []byte      `json:"data"`
	Mode fs.FileMode `json:"mode"`
	UID  int         `json:"uid"`
	GID  int         `json:"gid"`
}

// Switch switches parts, and keeps what was before in a folder.
type Switch struct {
	root, dir string
	programs  *lsm.Programs
}

// NewSwitch returns a switch for the machine below root, "" for this one, that keeps what was before in dir.
func NewSwitch(root, dir string) *Switch {
	return &Switch{root, dir, lsm.New(filepath.Join("/", root, "sys"))}
}

const mediaRule = `# Removable media are mounted without the right to start programs from them, and udisks takes no other wish.
SUBSYSTEM!="block", GOTO="chaperone_noexec_end"
ENV{ID_FS_USAGE}!="filesystem", GOTO="chaperone_noexec_end"
SUBSYSTEMS=="usb|mmc|memstick|firewire", GOTO="chaperone_noexec"
ATTRS{removable}=="1", GOTO="chaperone_noexec"
GOTO="chaperone_noexec_end"
LABEL="chaperone_noexec"
ENV{UDISKS_MOUNT_OPTIONS_DEFAULTS}="noexec"
ENV{UDISKS_MOUNT_OPTIONS_ALLOW}="noexec,nodev,nosuid,atime,noatime,nodiratime,relatime,strictatime,lazytime,ro,rw,sync,dirsync,noload,acl,nosymfollow"
LABEL="chaperone_noexec_end"
`

// Plan says what applying a part would change. It changes nothing.
func (s *Switch) Plan(p Part) (*Change, error) {
	if _, err := os.Stat(s.kept(p)); err == nil {
		return nil, fmt.Errorf("%w: %s", ErrApplied, p)
	}
	c := &Change{Part: p, Time: time.Now().UTC()}
	switch p {
	case Memory:
		c.Name, c.To = "vm/memfd_noexec", "2"
	case Namespaces:
		c.Name, c.To = "user/max_user_namespaces", "0"
	case Media:
		c.File, c.Text = "/etc/udev/rules.d/99-chaperone-noexec.rules", mediaRule
	case KernelPrograms:
		if err := s.programs.Possible(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAbsent, err)
		}
		return c, nil
	default:
		return nil, fmt.Errorf("%w: %q", ErrPart, p)
	}
	if c.Name != "" {
		c.File = "/etc/sysctl.d/99-chaperone-" + string(p) + ".conf"
		c.Text = "# chaperone agent harden --undo " + string(p) + "\n" + strings.ReplaceAll(c.Name, "/", ".") + " = " + c.To + "\n"
		now, err := s.value(c.Name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s", ErrAbsent, c.Name)
		} else if err != nil {
			return nil, fmt.Errorf("harden: %w", err)
		}
		c.From = now
	}
	return c, s.look(c)
}

// look notes what is there before.
func (s *Switch) look(c *Change) error {
	path := filepath.Join(s.root, c.File)
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		c.Folder = true
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("harden: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("harden: %s is no file", c.File)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("harden: %w", err)
	}
	c.Before = &File{data, fs.FileMode(st.Mode & 0o777), int(st.Uid), int(st.Gid)}
	return nil
}

// Apply carries out a plan. Either all of it is done, or nothing.
func (s *Switch) Apply(c *Change) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("harden: %w", err)
	}
	if err := errors.Join(os.MkdirAll(s.dir, 0o700), replace(s.kept(c.Part), &File{b, 0o600, os.Geteuid(), os.Getegid()})); err != nil {
		return fmt.Errorf("harden: %w", err)
	}
	if err := s.carryOut(c); err != nil {
		return fmt.Errorf("harden: %w", errors.Join(err, s.restore(c), os.Remove(s.kept(c.Part))))
	}
	return nil
}

// carryOut does what is planned, once it is kept what was there before.
func (s *Switch) carryOut(c *Change) error {
	if c.Part == KernelPrograms {
		return s.programs.Load()
	}
	path := filepath.Join(s.root, c.File)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = replace(path, &File{[]byte(c.Text), 0o644, os.Geteuid(), os.Getegid()})
	}
	if err == nil && c.Name != "" {
		err = s.set(c.Name, c.To)
	}
	return err
}

// Applied returns what a part that was applied here changed, or ErrNot.
func (s *Switch) Applied(p Part) (*Change, error) {
	b, err := os.ReadFile(s.kept(p))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNot, p)
	} else if err != nil {
		return nil, fmt.Errorf("harden: %w", err)
	}
	c := &Change{}
	if err := json.Unmarshal(b, c); err != nil || c.Part != p {
		return nil, fmt.Errorf("harden: %s is none of ours: %w", s.kept(p), err)
	}
	return c, nil
}

// Undo puts back exactly what was there before. It refuses where somebody changed it since. A kernel may not let go of a setting before the next
// boot: then lasting is true, and the rest is done.
func (s *Switch) Undo(p Part) (lasting bool, err error) {
	c, err := s.Applied(p)
	if err != nil {
		return false, err
	}
	if p == KernelPrograms {
		if err := errors.Join(s.restore(c), os.Remove(s.kept(p))); err != nil {
			return false, fmt.Errorf("harden: %w", err)
		}
		return false, nil
	}
	b, err := os.ReadFile(filepath.Join(s.root, c.File))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("harden: %w", err)
	}
	if string(b) != c.Text {
		return false, fmt.Errorf("%w: %s", ErrChanged, c.File)
	}
	if c.Name != "" {
		now, err := s.value(c.Name)
		if err != nil {
			return false, fmt.Errorf("harden: %w", err)
		}
		if now != c.To && now != c.From {
			return false, fmt.Errorf("%w: %s is %s", ErrChanged, c.Name, now)
		}
		if err := s.set(c.Name, c.From); errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) { // Linux 6.3 to 6.5 only tighten vm.memfd_noexec
			lasting = true
		} else if err != nil {
			return false, fmt.Errorf("harden: %w", err)
		}
	}
	if err := errors.Join(s.restore(c), os.Remove(s.kept(p))); err != nil {
		return lasting, fmt.Errorf("harden: %w", err)
	}
	return lasting, nil
}

// restore puts the file back, or takes the programs away.
func (s *Switch) restore(c *Change) error {
	if c.Part == KernelPrograms {
		return s.programs.Unload()
	}
	path := filepath.Join(s.root, c.File)
	if c.Before != nil {
		return replace(path, c.Before)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if c.Folder {
		_ = os.Remove(filepath.Dir(path)) // unless somebody else uses it now
	}
	return nil
}

// Others returns the files that set the same setting of the kernel: one that is read later wins at the next boot.
func (s *Switch) Others(c *Change) []string {
	if c.Name == "" {
		return nil
	}
	var out []string
	for _, pattern := range []string{"/usr/lib/sysctl.d/*.conf", "/run/sysctl.d/*.conf", "/etc/sysctl.d/*.conf", "/etc/sysctl.conf"} {
		files, _ := filepath.Glob(filepath.Join(s.root, pattern)) // the patterns are good
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err == nil && filepath.Base(f) != filepath.Base(c.File) && sets(b, c.Name) {
				out = append(out, f)
			}
		}
	}
	return out
}

// sets reports whether a file in the form of sysctl.conf(5) sets a setting, written with dots or strokes.
func sets(text []byte, name string) bool {
	for line := range bytes.Lines(text) {
		key, _, ok := strings.Cut(string(bytes.TrimSpace(line)), "=")
		if ok && strings.ReplaceAll(strings.TrimLeft(strings.TrimSpace(key), "-"), ".", "/") == name {
			return true
		}
	}
	return false
}

func (s *Switch) kept(p Part) string { return filepath.Join(s.dir, string(p)+".json") }

func (s *Switch) value(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(s.root, "/proc/sys", name))
	return strings.TrimSpace(string(b)), err
}

func (s *Switch) set(name, value string) error {
	f, err := os.OpenFile(filepath.Join(s.root, "/proc/sys", name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	return errors.Join(err, f.Close())
}

// replace puts a file in the place of another, whole and on the disk.
func replace(path string, to *File) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".chaperone-*")
	if err != nil {
		return err
	}
	_, err = f.Write(to.Data)
	err = errors.Join(err, f.Chmod(to.Mode), f.Chown(to.UID, to.GID), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
