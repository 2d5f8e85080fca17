// Package sandbox runs parsers of foreign formats in a limited re-execution of our own binary.
//
// The parent opens a file and passes the open descriptor over a socket pair; the child, which cannot open anything itself, parses it and
// answers in frames. Before its first job the child gives up what it can: resource limits, root, file system and network access
// (Landlock), and every system call that parsing does not need (seccomp). What the kernel does not offer is said in Status, never silent.
// Elsewhere than on Linux less is given up: on Windows the child runs in a job with a limit of memory and no other process, at low integrity; on
// macOS with resource limits and, started by root, as nobody. Neither closes the file system for reading, nor the network, and Status says so.
// A child that crashes, hangs, or outgrows its memory is killed and replaced; its job ends in a Failure, what it had answered is kept.
package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Argument is the hidden first argument that makes our binary a sandbox child.
const Argument = "sandbox-child"

// Limits of the protocol.
const (
	maxRequest = 1 << 20
	maxFrame   = 8 << 20
)

// Frame kinds, from child to parent.
const (
	frameHello  = 'h' // Status, once
	frameAnswer = 'a' // one answer
	frameAt     = 'p' // what the parser looks at now, to say where a crash happened
	frameDone   = 'd'
	frameFailed = 'f' // the parser returned an error: its text
)

// Job is one thing to parse, as a parser sees it. File is open for reading; everything else in the child is closed to it.
type Job struct {
	File   *os.File
	Size   int64
	Setup  []byte // Options.Setup, the same for every job of a pool
	Arg    []byte
	Answer func([]byte) error // sends one answer
	At     func(string)       // says what is looked at now
}

// Parser is one named parser. All parsers of a binary are given to Child in one list.
type Parser struct {
	Name  string
	Parse func(*Job) error
}

// Status says how far a child is confined. An empty reason means that the measure is in force.
type Status struct {
	User     string `json:"user"`     // why the child still runs as the parent's user
	Landlock string `json:"landlock"` // why file system and network are not closed by Landlock
	Seccomp  string `json:"seccomp"`  // why system calls are not filtered
	Limits   string `json:"limits"`   // why resource limits are not set
}

// Degraded returns what is not in force, in words, "" when everything is.
func (s Status) Degraded() string {
	var out string
	for _, m := range []struct{ name, why string }{
		{"seccomp", s.Seccomp}, {"landlock", s.Landlock}, {"resource limits", s.Limits}, {"unprivileged user", s.User},
	} {
		if m.why == "" {
			continue
		}
		if out != "" {
			out += "; "
		}
		out += m.name + " unavailable because " + m.why
	}
	return out
}

// Reasons of a Failure.
const (
	Crashed = "parser crashed"
	Timeout = "timeout"
	Memory  = "out of memory"
	TooMuch = "answer too large"
	Refused = "unparseable" // the parser itself returned an error
)

// Failure is how a job ended when it did not end well. The sandbox goes on.
type Failure struct {
	Reason string
	At     string // what the parser had said it was looking at
	Detail string
}

// Error says what happened and where.
func (f *Failure) Error() string {
	s := "sandbox: " + f.Reason
	if f.At != "" {
		s += " at " + f.At
	}
	if f.Detail != "" {
		s += ": " + f.Detail
	}
	return s
}

type request struct {
	Parser string `json:"parser"`
	Setup  []byte `json:"setup,omitempty"` // with the first request of a child
	Arg    []byte `json:"arg,omitempty"`
}

var errFrameTooLarge = errors.New("frame too large")

func writeFrame(w io.Writer, kind byte, body []byte) error {
	if len(body) > maxFrame {
		return errFrameTooLarge
	}
	b := make([]byte, 5+len(body))
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], uint32(len(body)))
	copy(b[5:], body)
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

func readFrame(r io.Reader) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("read frame: %w", err)
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxFrame {
		return 0, nil, errFrameTooLarge
	}
	body = make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, fmt.Errorf("read frame: %w", err)
	}
	return head[0], body, nil
}
