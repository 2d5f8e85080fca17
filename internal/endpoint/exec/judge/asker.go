package judge

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Terminal returns the device number of a process's controlling terminal, for Stop; 0 when it has none.
func Terminal(process int32) uint64 { return terminal(process) }

// terminal returns the device number of a thread's controlling terminal (proc_pid_stat(5)), 0 when it has none.
func terminal(thread int32) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(thread)) + "/stat")
	if err != nil {
		return 0
	}
	return parseTerminal(b)
}

// parseTerminal reads the seventh field. The second is a name in parentheses, which may hold anything.
func parseTerminal(stat []byte) uint64 {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 5 {
		return 0
	}
	n, err := strconv.ParseInt(string(fields[4]), 10, 32)
	if err != nil || n == 0 {
		return 0
	}
	number := uint32(n)
	return unix.Mkdev(number>>8&0xfff, number&0xff|number>>12&0xfff00)
}

// uid is who asks: who signed in, where the system keeps that, else who the process belongs to; root when that cannot be told, since then
// whoever asked is gone.
func (q *question) uid() uint32 {
	if q.user == nil {
		uid := q.lookUpUID()
		q.user = &uid
	}
	return *q.user
}

func (q *question) lookUpUID() uint32 {
	dir := "/proc/" + strconv.Itoa(int(q.ask.Thread))
	if b, err := os.ReadFile(dir + "/loginuid"); err == nil {
		if n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 32); err == nil && uint32(n) != ^uint32(0) {
			return uint32(n)
		}
	}
	b, err := os.ReadFile(dir + "/status")
	if err != nil {
		return 0
	}
	uid, _ := parseUIDs(b)
	return uid
}

// byRoot reports whether root's rights are used.
func (q *question) byRoot() bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(q.ask.Thread)) + "/status")
	if err != nil {
		return false
	}
	_, effective := parseUIDs(b)
	return effective == 0
}

// parseUIDs reads the real and the effective user (proc_pid_status(5)); nobody when they are not there.
func parseUIDs(status []byte) (real, effective uint32) {
	const nobody = 65534
	_, rest, ok := bytes.Cut(status, []byte("\nUid:"))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 2 {
		return nobody, nobody
	}
	r, err1 := strconv.ParseUint(string(fields[0]), 10, 32)
	e, err2 := strconv.ParseUint(string(fields[1]), 10, 32)
	if err1 != nil || err2 != nil {
		return nobody, nobody
	}
	return uint32(r), uint32(e)
}
