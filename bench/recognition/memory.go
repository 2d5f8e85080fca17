package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// seen counts the lines of `inspect --json` without keeping them.
type seen struct {
	flows, evicted int64
	apps           map[string]int64
	problems       []string
}

func (s *seen) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Bytes()
		switch {
		case bytes.HasPrefix(line, []byte(`{"type":"flow"`)):
			s.flows++
			if bytes.Contains(line, []byte(`"evicted":true`)) {
				s.evicted++
			}
			for _, app := range hiddenApps() {
				if bytes.Contains(line, []byte(`"app":"`+app+`"`)) {
					s.apps[app]++
				}
			}
		case len(s.problems) < 5:
			s.problems = append(s.problems, string(line))
		}
	}
	return lines.Err()
}

// memory gives each profile to the program and prints what it kept, at most, and whether it still saw the messengers.
func memory(out io.Writer, binary string, chosen []profile, n int) error {
	fmt.Fprintf(out, "%-12s %10s %10s %10s %10s %10s %10s %9s  %s\n", "profile", "packets", "flows", "evicted", "peak", "of it own", "ndpiReader", "CPU",
		"found of what a flood could hide")
	for _, p := range chosen {
		if err := keep(out, binary, p, n); err != nil {
			return err
		}
	}
	return nil
}

// feed gives a profile's packets to a reader, and says how many they were.
func feed(p profile, n int) (in *os.File, wrote <-chan int64, err error) {
	in, to, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	all := make(chan int64, 1)
	go func() {
		packets, err := generate(to, p, n)
		if err != nil && !errors.Is(err, syscall.EPIPE) {
			fmt.Fprintln(os.Stderr, "recognition:", err)
		}
		to.Close()
		all <- packets
	}()
	return in, all, nil
}

// often is how often a process is looked at.
const often = 10 * time.Millisecond

// watchOwn looks how much memory of a process is its own: the rest are pages of files, which other processes have too and the kernel can
// take away.
func watchOwn(pid int) func() int64 {
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		var m int64
		tick := time.NewTicker(often)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				most <- m
				return
			case <-tick.C:
				m = max(m, ownOf(pid))
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-most
	}
}

// ownOf returns RssAnon of a process, in KiB (proc_pid_status(5)).
func ownOf(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(b), "RssAnon:")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// maxPeer bounds the flows that ndpiReader is given, which keeps all of them.
const maxPeer = 100_000

// peer returns what ndpiReader took for the same packets, "-" where it is not asked or not there.
func peer(p profile, n int) string {
	if n == 0 {
		n = p.n
	}
	if n > maxPeer {
		return "-"
	}
	in, wrote, err := feed(p, n)
	if err != nil {
		return "-"
	}
	u, err := take(in, nil, "ndpiReader", "-i", "/dev/stdin", "-q", "-n", "1")
	in.Close()
	<-wrote
	if err != nil {
		return "-"
	}
	return mebibytes(u.peak)
}

func mebibytes(kib int64) string { return fmt.Sprintf("%.1f MiB", float64(kib)/1024) }

func keep(out io.Writer, binary string, p profile, n int) error {
	in, wrote, err := feed(p, n)
	if err != nil {
		return err
	}
	lines, said, err := os.Pipe()
	if err != nil {
		return err
	}
	read := make(chan *seen, 1)
	go func() {
		s := &seen{apps: map[string]int64{}}
		if err := s.read(lines); err != nil {
			s.problems = append(s.problems, err.Error())
		}
		read <- s
	}()
	u, err := run(in, said, watchOwn, binary, "inspect", "--json", "-")
	in.Close()
	said.Close()
	packets, s := <-wrote, <-read
	if err != nil {
		return err
	}
	var found []string
	for _, app := range hiddenApps() {
		if s.apps[app] > 0 {
			found = append(found, app)
		}
	}
	slices.Sort(found)
	if !p.hides || packets < hiddenAfter+hiddenSteps*hiddenEvery {
		found = []string{"-"}
	}
	fmt.Fprintf(out, "%-12s %10d %10d %10d %10s %10s %10s %6.2f µs  %s\n", p.name, packets, s.flows, s.evicted, mebibytes(u.peak), mebibytes(u.own),
		peer(p, n), float64(u.cpu.Microseconds())/float64(packets), strings.Join(found, " "))
	for _, problem := range s.problems {
		fmt.Fprintln(out, "  ", problem)
	}
	return nil
}
