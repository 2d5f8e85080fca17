package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	rounds    = 1500 // of starts
	bigRounds = 7    // of first starts
	big       = 75 << 20
)

func start(path string) func() (time.Duration, error) {
	return func() (time.Duration, error) { return once(path) }
}

// starts compares starts of small programs.
func (b *bench) starts(f fields) error {
	turns := []func() (time.Duration, error){start(f.bare + "/system"), start(f.watched + "/system"), start(f.bare + "/own"), start(f.watched + "/own")}
	if f.asked != "" {
		turns = append(turns, start(f.unasked+"/system"), start(f.asked+"/system"))
	}
	m, err := interleave(rounds, turns...)
	if err != nil {
		return err
	}
	peer := goal{what: "<= fapolicyd"}
	if f.asked != "" {
		peer.ratio = b.row("start, fapolicyd: one rule that denies, one that allows", m[4], m[5])
	}
	b.row("start, agent: of the system (root's)", m[0], m[1], goal{what: "<= 1.06", ratio: 1.06})
	b.row("start, agent: of a user, asked each time", m[2], m[3], goal{what: "<= 1.25", ratio: 1.25}, peer)
	return nil
}

// first measures the first start of a large program: it is touched before, so that nothing that is known of it holds.
func (b *bench) first(f fields) error {
	for _, p := range []struct {
		file, what string
		cold       bool
		goals      []goal
	}{
		{"big", "first start of 75 MB, agent: in the page cache", false, []goal{{what: "<= 120 ms", time: 120 * time.Millisecond}}},
		{"big", "first start of 75 MB, agent: out of the page cache", true, []goal{{what: "<= 120 ms", time: 120 * time.Millisecond}}},
		{"client", "first start of 75 MB, agent: a messenger, refused", false, []goal{{what: "<= 120 ms", time: 120 * time.Millisecond}}},
	} {
		turn := func(dir string) func() (time.Duration, error) {
			path := dir + "/" + p.file
			return func() (time.Duration, error) {
				if err := fresh(path, p.cold); err != nil {
					return 0, err
				}
				took, err := once(path)
				if dir == f.watched && p.file == "client" && errors.Is(err, unix.EPERM) {
					err = nil
				}
				return took, err
			}
		}
		before := spent(b.binary)
		m, err := interleave(bigRounds, turn(f.bare), turn(f.watched))
		if err != nil {
			return err
		}
		b.row(p.what, m[0], m[1], p.goals...)
		b.row("    processor time of the agent for it", m[0], (spent(b.binary)-before)/bigRounds)
	}
	return nil
}

// fresh changes a file's time of change, and has it in the page cache, or not.
func fresh(path string, cold bool) error {
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if cold {
		return errors.Join(unix.Fsync(int(file.Fd())), unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED))
	}
	_, err = io.Copy(io.Discard, file)
	return err
}

// large makes a program of 75 MB, as messengers are: most of it is a section. Without objcopy it is padded.
func large(path, end string) error {
	pad := append(make([]byte, big), end...)
	x := uint32(1)
	for i := range big { // nothing that is easily passed over
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		pad[i] = byte(x)
	}
	if _, err := exec.LookPath("objcopy"); err != nil {
		return program(path, 1000, pad)
	}
	if err := errors.Join(program(path, 1000, nil), os.WriteFile(path+".pad", pad, 0o600)); err != nil {
		return err
	}
	if text, err := exec.Command("objcopy", "--add-section", ".pad="+path+".pad", path).CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(text)))
	}
	return errors.Join(os.Chown(path, 1000, 1000), os.Remove(path+".pad"))
}

// spent returns the processor time of all processes of a binary: on a busy machine that says what waiting time does not.
func spent(binary string) time.Duration {
	var sum time.Duration
	links, _ := filepath.Glob("/proc/[0-9]*/exe") // the pattern is good
	for _, link := range links {
		if real, err := os.Readlink(link); err != nil || real != binary {
			continue
		}
		files, _ := filepath.Glob(filepath.Dir(link) + "/task/*/schedstat")
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				continue
			}
			if ran, err := time.ParseDuration(strings.Split(string(text), " ")[0] + "ns"); err == nil {
				sum += ran
			}
		}
	}
	return sum
}
