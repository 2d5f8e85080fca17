package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/chaperone-im/chaperone/internal/sandbox"
)

// maxDeaths is how often a worker of one parser may die: what kills it each time is not worth more.
const maxDeaths = 50

// Result is what one parser did.
type Result struct {
	Type     string         `json:"type"` // "parser"
	Parser   string         `json:"parser"`
	Seeds    int            `json:"seeds"`
	Number   uint64         `json:"seed"` // of the mutations: with it each input can be made again
	Tally    Tally          `json:"mutations"`
	Next     uint64         `json:"next"` // index
	Deaths   int            `json:"deaths"`
	Findings []Finding      `json:"findings,omitempty"`
	Door     map[string]int `json:"door,omitempty"` // files given to the scanner, by its answer
	DoorDone uint64         `json:"door_done"`
}

// supervisor keeps one worker busy, and takes another when it dies.
type supervisor struct {
	dir      string // of seeds, state and findings
	count    uint64
	progress func(*Result)
	words    []string // that start a worker, before what it is to do
}

func (s *supervisor) statePath(name string) string {
	return filepath.Join(s.dir, "state", name+".json")
}

// load reads how far a parser is.
func (s *supervisor) load(name string, number uint64) (*Result, error) {
	r := &Result{Type: "parser", Parser: name, Number: number}
	b, err := os.ReadFile(s.statePath(name))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	return r, err
}

func (s *supervisor) save(r *Result) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.statePath("x")), 0o755); err != nil {
		return err
	}
	next := s.statePath(r.Parser) + ".new"
	if err := os.WriteFile(next, b, 0o644); err != nil {
		return err
	}
	return os.Rename(next, s.statePath(r.Parser))
}

// run brings one parser to its count.
func (s *supervisor) run(ctx context.Context, r *Result) error {
	for r.Next < s.count && r.Deaths < maxDeaths && ctx.Err() == nil {
		err := s.work(ctx, r)
		if ctx.Err() != nil {
			break
		}
		var died *exec.ExitError
		if errors.As(err, &died) {
			if err := s.bury(r, died); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	return s.save(r)
}

func (s *supervisor) currentPath(name string) string {
	return filepath.Join(s.dir, "current-"+name)
}

// work starts a worker, which reads as many inputs as a child of the scanner reads files, and listens to it until it ends.
func (s *supervisor) work(ctx context.Context, r *Result) error {
	words := append(s.words[1:len(s.words):len(s.words)], "worker", r.Parser, filepath.Join(s.dir, "seeds"), strconv.FormatUint(r.Number, 10),
		strconv.FormatUint(r.Next, 10), strconv.FormatUint(min(s.count, r.Next+sandbox.JobsPerChild), 10), s.currentPath(r.Parser))
	cmd := exec.CommandContext(ctx, s.words[0], words...)
	said := &head{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = s.listen(out, r)
	if waited := cmd.Wait(); waited != nil {
		var died *exec.ExitError
		if errors.As(waited, &died) {
			died.Stderr = said.b
		}
		return waited
	}
	return err
}

// head keeps the first bytes that a worker says on standard error.
type head struct{ b []byte }

// Write keeps what fits.
func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), 4096-len(h.b))]...)
	return len(p), nil
}

// listen counts what a worker says.
func (s *supervisor) listen(out io.Reader, r *Result) error {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("worker said %.100q: %w", lines.Text(), err)
		}
		if l.Tally != nil {
			r.add(l.Tally)
			s.progress(r)
			if err := s.save(r); err != nil {
				return err
			}
		}
		if l.Finding != nil {
			if err := s.keep(r, *l.Finding); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

// add counts.
func (r *Result) add(t *Tally) {
	r.Next += t.Done
	r.Tally.Done += t.Done
	r.Tally.Clean += t.Clean
	r.Tally.CPU += t.CPU
	r.Tally.Live = max(r.Tally.Live, t.Live)
	if t.Slowest > r.Tally.Slowest {
		r.Tally.Slowest, r.Tally.SlowAt = t.Slowest, t.SlowAt
	}
	if t.Largest > r.Tally.Largest {
		r.Tally.Largest, r.Tally.LargeAt = t.Largest, t.LargeAt
	}
}

// bury says which input a worker died of, and goes on behind it.
func (s *supervisor) bury(r *Result, died *exec.ExitError) error {
	at, err := currentIndex(s.currentPath(r.Parser))
	if err != nil {
		return fmt.Errorf("worker ended before its first input: %w: %.300s", died, died.Stderr)
	}
	r.Deaths++
	kind, detail := kindDied, fmt.Sprintf("%v: %.200s", died, firstLine(died.Stderr))
	if died.ExitCode() == exitHung {
		kind, detail = kindHung, fmt.Sprintf("%.600s", died.Stderr)
	}
	if at+1 > r.Next { // what was read since it was last told is not counted, but done
		r.Tally.Done += at + 1 - r.Next
		r.Next = at + 1
	}
	if err := s.keep(r, Finding{Parser: r.Parser, Kind: kind, Index: at, Detail: detail}); err != nil {
		return err
	}
	return s.save(r)
}

func firstLine(b []byte) []byte {
	l, _, _ := bytes.Cut(b, []byte("\n"))
	return l
}

// keep writes the input of a finding to a file, once for each fault.
func (s *supervisor) keep(r *Result, f Finding) error {
	for i := range r.Findings {
		if o := &r.Findings[i]; o.Kind == f.Kind && digitless(o.Detail) == digitless(f.Detail) {
			return nil
		}
	}
	seeds, err := seedsOf(filepath.Join(s.dir, "seeds"), r.Parser)
	if err != nil {
		return err
	}
	f.File = filepath.Join(s.dir, "findings", fmt.Sprintf("%s-%d", r.Parser, f.Index))
	if err := os.MkdirAll(filepath.Dir(f.File), 0o755); err != nil {
		return err
	}
	r.Findings = append(r.Findings, f)
	return os.WriteFile(f.File, (&mutator{seeds: seeds, number: r.Number}).input(f.Index), 0o644)
}

// faults are the findings but those that the parser dealt with itself.
func (r *Result) faults() int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Kind != kindCaught {
			n++
		}
	}
	return n
}

// left is how long the rest of one parser will take at its pace so far.
func (r *Result) left(count uint64, took time.Duration, begun uint64) time.Duration {
	done := r.Next - begun
	if done == 0 || count < r.Next {
		return 0
	}
	return time.Duration(float64(took) / float64(done) * float64(count-r.Next)).Round(time.Second)
}
