package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// configuration lets fapolicyd watch mounts of type ramfs and nothing else.
const configuration = `permissive = 0
nice_val = 0
q_size = 640
uid = root
gid = root
do_stat_report = 0
detailed_report = 0
db_max_size = 50
subj_cache_size = 1549
obj_cache_size = 8191
watch_fs = ramfs
trust = file
integrity = none
syslog_format = rule,dec,perm,auid,pid,exe,:,path,ftype,trust
rpm_sha256_only = 0
allow_filesystem_mark = 0
`

// peer starts fapolicyd with one rule that denies and one that allows. It returns the file system that it watches, and the same file system by
// a mount that it cannot see and so does not watch; nothing where it cannot run.
func (b *bench) peer() (unasked, asked string, err error) {
	if _, err := exec.LookPath("fapolicyd"); err != nil {
		_, err := fmt.Fprintln(b.out, "fapolicyd: not installed")
		return "", "", err
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", "", err
	}
	if others(string(table), "ramfs") > 0 {
		_, err := fmt.Fprintln(b.out, "fapolicyd: left out, since this machine has a ramfs of its own that it would watch")
		return "", "", err
	}
	field := filepath.Join(b.dir, "peer/field")
	if err := errors.Join(os.MkdirAll(field, 0o755), unix.Mount("ramfs", field, "ramfs", 0, "")); err != nil {
		return "", "", err
	}
	b.mounted = append(b.mounted, field)
	if err := errors.Join(program(field+"/system", 0, nil), program(field+"/bad", 0, []byte("bad"))); err != nil {
		return "", "", err
	}
	detached, err1 := unix.OpenTree(unix.AT_FDCWD, field, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	attached, err2 := unix.Open(field, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err := errors.Join(err1, err2); err != nil {
		return "", "", fmt.Errorf("fapolicyd: %w", err)
	}
	b.marks = append(b.marks, detached, attached)
	// Both go by a descriptor, which costs both the same.
	return fmt.Sprintf("/proc/self/fd/%d", detached), fmt.Sprintf("/proc/self/fd/%d", attached), b.startPeer(field + "/bad")
}

// startPeer starts the daemon with folders of its own in the place of the system's, and waits until it refuses bad.
func (b *bench) startPeer(bad string) error {
	text := "deny perm=execute all : path=" + bad + "\nallow perm=any all : all\n"
	for _, f := range [][2]string{{"etc", "/etc/fapolicyd"}, {"lib", "/var/lib/fapolicyd"}, {"run", "/run/fapolicyd"}} {
		dir := filepath.Join(b.dir, "peer", f[0])
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "trust.d"), 0o755), os.MkdirAll(f[1], 0o755)); err != nil {
			return err
		}
		if f[0] == "etc" {
			if err := errors.Join(os.MkdirAll(filepath.Join(dir, "rules.d"), 0o755), os.WriteFile(filepath.Join(dir, "fapolicyd.conf"), []byte(configuration), 0o600),
				os.WriteFile(filepath.Join(dir, "fapolicyd.rules"), []byte(text), 0o600), os.WriteFile(filepath.Join(dir, "rules.d/10-bench.rules"), []byte(text), 0o600),
				os.WriteFile(filepath.Join(dir, "fapolicyd.trust"), nil, 0o600)); err != nil {
				return err
			}
		}
		if err := unix.Mount(dir, f[1], "", unix.MS_BIND, ""); err != nil {
			return err
		}
		b.mounted = append(b.mounted, f[1])
	}
	_ = exec.Command("fagenrules", "--load").Run() // older versions read one file, which is there
	if err := b.start(exec.Command("fapolicyd", "--debug-deny")); err != nil {
		return err
	}
	if err := refused(bad); err != nil {
		return fmt.Errorf("fapolicyd: %w", err)
	}
	return nil
}

// others returns how many mounts of a type there are.
func others(table, kind string) int {
	n := 0
	for line := range strings.Lines(table) {
		if _, after, ok := strings.Cut(line, " - "); ok && strings.HasPrefix(after, kind+" ") {
			n++
		}
	}
	return n
}
