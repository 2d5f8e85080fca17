package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// usage is what one run of a program took.
type usage struct {
	cpu  time.Duration
	peak int64 // KiB
	own  int64 // KiB of it that are no pages of files, where it was watched
}

// take runs a command to its end, its output thrown away or given to out.
func take(in io.Reader, out io.Writer, name string, args ...string) (usage, error) {
	return run(in, out, func(int) func() int64 { return func() int64 { return 0 } }, name, args...)
}

// run is take, with somebody who is told the number of the process, and asked when it has ended what it saw.
func run(in io.Reader, out io.Writer, watch func(pid int) func() int64, name string, args ...string) (usage, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stdin, cmd.Stdout = in, out
	if err := cmd.Start(); err != nil {
		return usage{}, fmt.Errorf("%s: %w", name, err)
	}
	saw := watch(cmd.Process.Pid)
	err := cmd.Wait()
	own := saw()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() < 0) { // 1: something is forbidden; 2: of hostile captures some cannot be read
		return usage{}, fmt.Errorf("%s: %w", name, err)
	}
	u := usage{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), own: own}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.peak = r.Maxrss
	}
	return u, nil
}

// work is one thing that both programs do.
type work struct {
	name    string
	packets int64
	ours    []string // arguments
	theirs  []string
}

// result holds the runs of one work, pair by pair.
type result struct{ ours, theirs []usage }

// median returns the middle of what f says of each run.
func median(n int, f func(i int) float64) float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = f(i)
	}
	slices.Sort(all)
	return all[n/2]
}

// pairs is how often each program does each work.
const pairs = 7

// interleave does all works in turn, ours and theirs, round by round.
func interleave(binary string, works []work) ([]result, error) {
	results := make([]result, len(works))
	for range pairs {
		for i, w := range works {
			ours, err := take(nil, nil, binary, w.ours...)
			if err != nil {
				return nil, err
			}
			theirs, err := take(nil, nil, "ndpiReader", w.theirs...)
			if err != nil {
				return nil, err
			}
			results[i].ours = append(results[i].ours, ours)
			results[i].theirs = append(results[i].theirs, theirs)
		}
	}
	return results, nil
}

// bulkPackets is how long the one flow in bulk is.
const bulkPackets = 2_000_000

// prepare writes what is read: an empty capture, a list of the captures, the joined one, and one flow in bulk.
func prepare(folder, dir string) ([]work, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.*cap*"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("no captures in %s", folder)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("list"), []byte(strings.Join(names, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	var all int64
	for _, name := range names {
		n, err := count(name)
		if err != nil {
			return nil, err
		}
		all += n
	}
	joined, _, err := join(folder, path("joined"))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(writeTo(path("empty"), func(*capture) {}), writeTo(path("bulk"), func(c *capture) { bulk(c, bulkPackets) })); err != nil {
		return nil, err
	}
	ours := func(names ...string) []string { return append([]string{"inspect", "--json"}, names...) }
	theirs := func(name string) []string { return []string{"-i", name, "-q", "-n", "1"} }
	return []work{
		{"start-up", 0, ours(path("empty")), theirs(path("empty"))},
		{fmt.Sprintf("%d captures", len(names)), all, ours(names...), theirs(path("list"))},
		{fmt.Sprintf("joined, %d times", rounds), joined, ours(path("joined")), theirs(path("joined"))},
		{"one flow in bulk", bulkPackets, ours(path("bulk")), theirs(path("bulk"))},
	}, nil
}

func writeTo(path string, write func(c *capture)) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	c := newCapture(f)
	write(c)
	return errors.Join(c.err, c.out.Flush(), f.Close())
}

// speed compares the CPU time of both programs.
func speed(out io.Writer, folder, binary string) error {
	dir, err := os.MkdirTemp("", "recognition")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	works, err := prepare(folder, dir)
	if err != nil {
		return err
	}
	results, err := interleave(binary, works)
	if err != nil {
		return err
	}
	tabulate(out, works, results)
	return nil
}

func tabulate(out io.Writer, works []work, results []result) {
	start := results[0]
	micros := func(u usage) float64 { return float64(u.cpu.Microseconds()) }
	ourStart := median(pairs, func(i int) float64 { return micros(start.ours[i]) })
	theirStart := median(pairs, func(i int) float64 { return micros(start.theirs[i]) })
	fmt.Fprintf(out, "start-up: %.0f ms (goal <= 60), ndpiReader %.0f ms\n", ourStart/1000, theirStart/1000)
	fmt.Fprintf(out, "%-20s %10s %12s %12s %7s %12s\n", "CPU less start-up", "packets", "chaperone", "ndpiReader", "ratio", "peak memory")
	var average float64
	for i, w := range works[1:] {
		r, n := results[i+1], float64(w.packets)
		ours := median(pairs, func(i int) float64 { return micros(r.ours[i]) - ourStart }) / n
		theirs := median(pairs, func(i int) float64 { return micros(r.theirs[i]) - theirStart }) / n
		ratio := median(pairs, func(i int) float64 { return (micros(r.ours[i]) - ourStart) / (micros(r.theirs[i]) - theirStart) })
		peak := median(pairs, func(i int) float64 { return float64(r.ours[i].peak) })
		fmt.Fprintf(out, "%-20s %10d %9.3f µs %9.3f µs %7.2f %8.1f MiB\n", w.name, w.packets, ours, theirs, ratio, peak/1024)
		if i == 0 {
			average = ours
		} else if i == len(works)-2 {
			fmt.Fprintf(out, "a packet in bulk costs %.2f of one of the captures (goal <= 0.20)\n", ours/average)
		}
	}
}
