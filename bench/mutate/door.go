package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/sandbox"
)

// Answers of the scanner to a file.
const (
	answerProgram = "program" // it says what it is, and complains of nothing
	answerNothing = "nothing" // neither program nor container
)

// nothing is a policy that has no opinion.
type nothing struct{}

// Decide allows.
func (nothing) Decide(*policy.Input) event.Verdict { return event.Verdict{Action: event.Allow} }

// door gives files to the scanner as an agent does, which gives them to the limited child.
type door struct {
	scanner *scan.Scanner
	file    *os.File
}

func openDoor(timeout time.Duration) (*door, error) {
	c, err := catalog.Default()
	if err != nil {
		return nil, err
	}
	s, err := scan.New(scan.Options{Catalog: c, Policy: nothing{}, Workers: 1, Timeout: timeout})
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("mutation", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("memory file: %w", err), s.Close())
	}
	return &door{s, os.NewFile(uintptr(fd), "mutation")}, nil
}

func (d *door) close() error { return errors.Join(d.file.Close(), d.scanner.Close()) }

// ask returns what the scanner says of a file, and a text when that is no good answer.
func (d *door) ask(ctx context.Context, b []byte) (answer, fault string, err error) {
	if err := d.file.Truncate(0); err != nil {
		return "", "", err
	}
	if _, err := d.file.WriteAt(b, 0); err != nil {
		return "", "", err
	}
	programs, problems, err := d.scanner.Identify(ctx, d.file, "mutation")
	if err != nil {
		return "", "", fmt.Errorf("the scanner is dead: %w", err)
	}
	for _, p := range problems {
		if p.Reason == "" {
			return "", "a problem without a reason", nil
		}
		switch p.Reason {
		case sandbox.Crashed, sandbox.Memory, sandbox.Timeout, sandbox.TooMuch:
			return p.Reason, fmt.Sprintf("%s: %s", p.Reason, p.Detail), nil
		}
		if strings.Contains(p.Detail, sandbox.Crashed) {
			return sandbox.Crashed, p.Detail, nil
		}
		answer = p.Reason
	}
	switch {
	case answer != "":
		return answer, "", nil
	case len(programs) > 0:
		return answerProgram, "", nil
	}
	return answerNothing, "", nil
}

// alive asks of a file whose answer is known.
func (d *door) alive(ctx context.Context) error {
	answer, fault, err := d.ask(ctx, scantest.Installer())
	if err == nil && (answer != answerProgram || fault != "") {
		err = fmt.Errorf("a good program is %q %s", answer, fault)
	}
	return err
}

// knock gives the first inputs of a parser to the scanner.
func (s *supervisor) knock(ctx context.Context, d *door, r *Result, count uint64) error {
	seeds, err := seedsOf(s.dir+"/seeds", r.Parser)
	if err != nil {
		return err
	}
	m := &mutator{seeds: seeds, number: r.Number}
	if r.Door == nil {
		r.Door = map[string]int{}
	}
	for said := time.Now(); r.DoorDone < count && ctx.Err() == nil; r.DoorDone++ {
		answer, fault, err := d.ask(ctx, m.input(r.DoorDone))
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		r.Door[answer]++
		if fault != "" {
			if err := s.keep(r, Finding{Parser: r.Parser, Kind: kindDoor, Index: r.DoorDone, Detail: fault}); err != nil {
				return err
			}
		}
		if time.Since(said) > time.Second {
			said = time.Now()
			s.progress(r)
		}
	}
	if ctx.Err() == nil {
		if err := d.alive(ctx); err != nil {
			return err
		}
	}
	return s.save(r)
}
