package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
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
func memory(out io.Writer, binary string, n int) error {
	fmt.Fprintf(out, "%-12s %10s %10s %10s %10s %9s  %s\n", "profile", "packets", "flows", "evicted", "peak", "CPU", "found of what a flood could hide")
	for _, p := range profiles() {
		if err := keep(out, binary, p, n); err != nil {
			return err
		}
	}
	return nil
}

func keep(out io.Writer, binary string, p profile, n int) error {
	in, feed, err := os.Pipe()
	if err != nil {
		return err
	}
	lines, said, err := os.Pipe()
	if err != nil {
		return err
	}
	wrote, read := make(chan int64, 1), make(chan *seen, 1)
	go func() {
		packets, err := generate(feed, p, n)
		if err != nil {
			fmt.Fprintln(os.Stderr, "recognition:", err)
		}
		feed.Close()
		wrote <- packets
	}()
	go func() {
		s := &seen{apps: map[string]int64{}}
		if err := s.read(lines); err != nil {
			s.problems = append(s.problems, err.Error())
		}
		read <- s
	}()
	u, err := take(in, said, binary, "inspect", "--json", "-")
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
	if !p.hides || packets < hiddenAfter+100*hiddenEvery {
		found = []string{"-"}
	}
	fmt.Fprintf(out, "%-12s %10d %10d %10d %6.1f MiB %6.2f µs  %s\n", p.name, packets, s.flows, s.evicted, float64(u.peak)/1024,
		float64(u.cpu.Microseconds())/float64(packets), strings.Join(found, " "))
	for _, problem := range s.problems {
		fmt.Fprintln(out, "  ", problem)
	}
	return nil
}
