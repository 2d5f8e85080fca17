package inspection

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// forgetStartup gives back the pages of the program's own file that start-up read: reading the catalog and the policy touches most of
// the program, and packets need little of it. What is needed again is mapped again, out of the kernel's cache of the file.
func forgetStartup() {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	for _, m := range unchanged(f, self) {
		// An advice that is not taken changes nothing.
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED)
	}
}

// mapping is a part of the address space, and how many KiB of it are in memory.
type mapping struct {
	from, to uintptr
	resident uint64
}

// unchanged returns the mappings of a file that nobody may write to and of which no page differs from the file, so that each can be read
// from there again. A linker's relocations make such pages, where the program is linked dynamically (proc_pid_smaps(5)).
func unchanged(smaps io.Reader, file string) []mapping {
	var all []mapping
	var m mapping
	ours := false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		field := strings.Fields(lines.Text())
		if len(field) < 2 {
			continue
		}
		key, isValue := strings.CutSuffix(field[0], ":")
		if !isValue {
			path := ""
			if len(field) > 5 {
				path = strings.Join(field[5:], " ")
			}
			m, ours = span(field[0])
			ours = ours && path == file && len(field[1]) == 4 && field[1][1] == '-' && field[1][3] == 'p'
			continue
		}
		size, err := strconv.ParseUint(field[1], 10, 64)
		switch {
		case key == "Rss":
			m.resident = size
		case (key == "Anonymous" || key == "Swap") && (err != nil || size > 0):
			ours = false
		case key == "VmFlags" && ours: // the last line of each
			all = append(all, m)
		}
	}
	if lines.Err() != nil {
		return nil
	}
	return all
}

// span reads "from-to".
func span(s string) (m mapping, ok bool) {
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		return m, false
	}
	a, err := strconv.ParseUint(from, 16, strconv.IntSize)
	if err != nil {
		return m, false
	}
	b, err := strconv.ParseUint(to, 16, strconv.IntSize)
	if err != nil || b < a {
		return m, false
	}
	return mapping{from: uintptr(a), to: uintptr(b)}, true
}
