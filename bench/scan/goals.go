package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// goals says of each measure whether its goal is met.
type goals struct {
	out    io.Writer
	missed int
}

func (g *goals) atMost(what string, is, goal float64) { g.say(what, is <= goal, is, "<=", goal) }

func (g *goals) atLeast(what string, is, goal float64) { g.say(what, is >= goal, is, ">=", goal) }

func (g *goals) say(what string, met bool, is float64, relation string, goal float64) {
	word := "met"
	if !met {
		word = "MISSED"
		g.missed++
	}
	fmt.Fprintf(g.out, "goal: %-50s %10.4g  %s %.4g  %s\n", what, is, relation, goal, word)
}

// steady is how many files a scan is to ask each second whether they changed.
const steady = 50_000

// rescans is how often a tree is scanned again: the fastest counts, since others use the machine too.
const rescans = 3

// again scans a tree, and then again with the memory of the first time.
func again(g *goals, binary, tree string) error {
	dir, err := os.MkdirTemp("", "bench-scan")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if text, err := exec.Command(binary, "quickstart", filepath.Join(dir, "firm")).CombinedOutput(); err != nil {
		return fmt.Errorf("quickstart: %w: %s", err, text)
	}
	var best float64
	for i := range 1 + rescans {
		cmd := exec.Command(binary, "scan", "--json", "--data", filepath.Join(dir, "firm", "data"), tree)
		out, err := cmd.Output()
		var status *exec.ExitError
		if err != nil && (!errors.As(err, &status) || status.ExitCode() != 1) {
			return fmt.Errorf("scan: %w", err)
		}
		known, took, err := summary(out)
		if err != nil {
			return err
		}
		if i == 0 {
			fmt.Fprintf(g.out, "%s: first scan %.1f s\n", tree, took.Seconds())
			continue
		}
		fmt.Fprintf(g.out, "%s: again, %d files known, %.2f s, user %.2f s, system %.2f s\n", tree, known, took.Seconds(), cmd.ProcessState.UserTime().Seconds(), cmd.ProcessState.SystemTime().Seconds())
		best = max(best, float64(known)/max(took.Seconds(), 0.001))
	}
	g.atLeast("files each second that are only asked", best, steady)
	return nil
}

// summary is the last line of a scan: files that were only asked, and the time it took.
func summary(out []byte) (known int64, took time.Duration, err error) {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var last struct {
		Type    string
		Known   int64
		Seconds float64
	}
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || last.Type != "summary" {
		return 0, 0, fmt.Errorf("the scan said no summary: %w", err)
	}
	return last.Known, time.Duration(last.Seconds * float64(time.Second)), nil
}

var counted = regexp.MustCompile(`(\d+) of (\d+) disguised samples found`)

// disguised counts the disguised samples that the test of disguises finds.
func disguised(g *goals) error {
	out, err := exec.Command("go", "test", "-count=1", "-v", "-run", "^TestDisguises$", "./internal/endpoint/scan").CombinedOutput()
	found, wanted, parsed := samples(out)
	if parsed != nil {
		return fmt.Errorf("test of disguises: %w, %w: %s", err, parsed, out)
	}
	g.atLeast(fmt.Sprintf("disguised samples found, of %d", wanted), float64(found), float64(wanted))
	return nil
}

// samples are the counts that the test of disguises prints.
func samples(out []byte) (found, wanted int, err error) {
	m := counted.FindSubmatch(out)
	if m == nil {
		return 0, 0, errors.New("it says no count")
	}
	found, err = strconv.Atoi(string(m[1]))
	if err == nil {
		wanted, err = strconv.Atoi(string(m[2]))
	}
	return found, wanted, err
}
