// Package harden says which settings of a machine close the ways around execution control that fanotify is not asked about, and switches them.
// Each of them can break something that a machine needs: so each is applied by itself, after a look at what would change, and taken back exactly.
package harden

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/harden/lsm"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/mounts"
)

// Setting is one setting and what it is worth.
type Setting struct {
	Part   Part   // as it is switched here; "" where it is not
	Name   string // as its documentation calls it
	Closed bool   // the way around is closed
	Absent bool   // this machine cannot have it, which is no reason to warn of it
	What   string // how it is set now
	Why    string // what is open
	Do     string // what closes it, and what that costs
}

// Settings reads the settings of a machine below root, "" for this one. Removable tells of a device number whether it is a removable medium.
func Settings(root string, removable func(device string) bool) []Setting {
	kernel := programs(root)
	out := []Setting{memory(root), namespaces(root), media(root, removable), kernel}
	if kernel.Closed {
		for i := range out[:2] {
			if !out[i].Closed {
				out[i].Closed, out[i].What = true, out[i].What+", and the programs in the kernel refuse it to everybody but root"
			}
		}
	}
	return out
}

func programs(root string) Setting {
	p := lsm.New(filepath.Join("/", root, "sys"))
	s := Setting{Part: KernelPrograms, Name: "programs in the kernel (BPF LSM)", What: "none are loaded",
		Why: "they refuse what is started from memory, or from a file system that was mounted in a user namespace, to everybody but root",
		Do:  "chaperone agent harden --apply programs; vm.memfd_noexec=2 with user.max_user_namespaces=0 closes the same, and breaks more"}
	if p.Loaded() {
		s.Closed, s.What = true, "they are loaded"
	} else if err := p.Possible(); err != nil {
		s.Absent, s.What = true, err.Error()
	}
	return s
}

// number reads a number of /proc/sys.
func number(root, name string) (int, error) {
	b, err := os.ReadFile(filepath.Join(root, "/proc/sys", name))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

func memory(root string) Setting {
	s := Setting{Part: Memory, Name: "vm.memfd_noexec", Why: "a program can be copied into memory (memfd_create) and started from there, unseen",
		Do: "sysctl vm.memfd_noexec=2 (Linux 6.3 or later); containers started by runc before 1.1.4 need it off"}
	n, err := number(root, "vm/memfd_noexec")
	switch {
	case err != nil:
		s.What = "this kernel does not have it"
	default:
		s.What, s.Closed = strconv.Itoa(n), n == 2
	}
	return s
}

func namespaces(root string) Setting {
	s := Setting{Part: Namespaces, Name: "user.max_user_namespaces", Why: "in a user namespace anybody mounts a file system of memory, which is not watched, and starts programs from there",
		Do: "sysctl user.max_user_namespaces=0; browsers and Electron programs then need their setuid sandbox, and rootless containers and Flatpak do not work"}
	n, err := number(root, "user/max_user_namespaces")
	if err != nil {
		s.What, s.Closed = "this kernel has no user namespaces", true
		return s
	}
	s.What, s.Closed = strconv.Itoa(n), n == 0
	for _, other := range []string{"kernel/unprivileged_userns_clone", "kernel/apparmor_restrict_unprivileged_userns"} {
		if v, err := number(root, other); err == nil && (v == 0) == strings.HasSuffix(other, "clone") {
			s.What, s.Closed = fmt.Sprintf("%d, and %s=%d", n, strings.ReplaceAll(other, "/", "."), v), true
		}
	}
	return s
}

func media(root string, removable func(string) bool) Setting {
	s := Setting{Part: Media, Name: "noexec on removable media", Closed: true, What: "none is mounted without it",
		Why: "the agent refuses programs on them by itself; noexec also stops libraries from being loaded",
		Do:  "in /etc/udisks2/mount_options.conf, [defaults]: defaults=nosuid,nodev,noexec; else noexec in /etc/fstab"}
	b, err := os.ReadFile(filepath.Join(root, "/proc/self/mountinfo"))
	if err != nil {
		return s
	}
	var open []string
	for _, m := range mounts.Parse(b) {
		if !m.NoExec && removable(m.Device) {
			open = append(open, m.Point)
		}
	}
	if len(open) > 0 {
		s.Closed, s.What = false, "not on "+strings.Join(open, ", ")
	}
	return s
}
