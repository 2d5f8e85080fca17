package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// line is a line of `chaperone scan --json`.
type line struct {
	Type, Path, Inside, App, Format, Reason, Detail string

	Confidence float64
	Evidence   []struct{ Fact string }
	Files      int
	Bytes      int64
}

// String says what is taken for which messenger, and why.
func (l line) String() string {
	s := fmt.Sprintf("%s!/%s is taken for %s (%.2f):", l.Path, l.Inside, l.App, l.Confidence)
	for _, e := range l.Evidence {
		s += " " + e.Fact
	}
	return s
}

// result is what a scan said.
type result struct {
	findings []line
	problems []string
	files    int
	bytes    int64
}

// scan runs the program over a folder. Exit status 1 means that something was found.
func scan(ctx context.Context, program, dir string) (result, error) {
	cmd := exec.CommandContext(ctx, program, "scan", "--json", dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	var status *exec.ExitError
	if err != nil && (!errors.As(err, &status) || status.ExitCode() != 1) {
		return result{}, fmt.Errorf("scan of %s: %w: %s", dir, err, said.Bytes())
	}
	return read(bytes.NewReader(out))
}

// read reads what a scan said. History that lies in a home folder is no program.
func read(r io.Reader) (result, error) {
	var out result
	for d := json.NewDecoder(r); ; {
		var l line
		switch err := d.Decode(&l); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return out, fmt.Errorf("answer of the scan: %w", err)
		}
		switch l.Type {
		case "finding":
			out.findings = append(out.findings, l)
		case "error":
			out.problems = append(out.problems, fmt.Sprintf("%s!/%s: %s: %s", l.Path, l.Inside, l.Reason, l.Detail))
		case "summary":
			out.files, out.bytes = l.Files, l.Bytes
		}
	}
}
