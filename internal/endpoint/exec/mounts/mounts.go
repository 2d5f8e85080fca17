// Package mounts reads the mount table, as holder and worker of the execution control see it.
package mounts

import (
	"bytes"
	"strings"
)

// Local reports whether a file system of a type has files that are on this machine. Where another process or machine answers for the files,
// opening them may never end, and the holder would stand still.
func Local(kind string) bool {
	switch kind {
	case "proc", "sysfs", "cgroup", "cgroup2", "devpts", "securityfs", "debugfs", "tracefs", "configfs", "pstore", "bpf", "efivarfs", "mqueue",
		"hugetlbfs", "selinuxfs", "binfmt_misc", "nsfs", "rpc_pipefs", "autofs", "fusectl", "resctrl",
		"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "coda", "glusterfs", "lustre", "gpfs", "ocfs2", "virtiofs":
		return false
	}
	return kind != "fuse" && !strings.HasPrefix(kind, "fuse.") && kind != "fuseblk"
}

// Mount is one line of the mount table.
type Mount struct {
	Device   string // major:minor
	Point    string // where it is mounted
	Kind     string // type of the file system
	Source   string // what is mounted, often a device
	Writable bool   // the file system itself, whatever the mount says
	NoExec   bool   // nothing is started from this mount
	ID       string // tells it from another in its place: number of the mount and of that below it, and the folder that is mounted
	Root     string // the folder of the file system that is mounted
}

// Parse reads a mount table (proc_pid_mountinfo(5)).
func Parse(b []byte) []Mount {
	var out []Mount
	for line := range bytes.Lines(b) {
		before, after, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " - ")
		fields, system := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(system) < 3 {
			continue
		}
		out = append(out, Mount{fields[2], unescape(fields[4]), system[0], unescape(system[1]), strings.HasPrefix(system[2]+",", "rw,"), strings.Contains(","+fields[5]+",", ",noexec,"),
			strings.Join([]string{fields[0], fields[1], fields[3]}, " "), unescape(fields[3])})
	}
	return out
}

// unescape takes back what the kernel writes as three octal digits.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
