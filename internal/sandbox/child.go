package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"
)

// Child runs the parsers when the process was started as a sandbox child, and then never returns. Call it first thing in main.
func Child(args []string, parsers []Parser) {
	if len(args) < 2 || args[1] != Argument {
		return
	}
	os.Exit(serve(args[2:], parsers))
}

// serve answers requests until the parent ends the way to it.
func serve(args []string, parsers []Parser) int {
	memory := uint64(defaultMemory)
	if len(args) > 0 {
		if n, err := strconv.ParseUint(args[0], 10, 63); err == nil {
			memory = n
		}
	}
	c := &child{sock: parent(), parsers: parsers}
	hello, err := json.Marshal(confine(memory))
	if err != nil {
		return 1
	}
	if err := writeFrame(c.sock, frameHello, hello); err != nil {
		return 1
	}
	for {
		err := c.one()
		if errors.Is(err, io.EOF) {
			return 0
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "sandbox child:", err)
			return 1
		}
		if Outgrown(memory) {
			return 0 // the pool starts another
		}
	}
}

// Outgrown reports whether this process took more than half of its memory from the system, which it never gives back: what lies scattered
// there may leave no room for the next large job.
func Outgrown(memory uint64) bool {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() > memory/2
}

type child struct {
	sock    socket
	parsers []Parser
	setup   []byte
}

// one takes one request and answers it.
func (c *child) one() error {
	req, f, err := c.receive()
	if err != nil {
		return err
	}
	defer f.Close()
	if req.Setup != nil {
		c.setup = req.Setup
	}
	if err := c.parse(req, f); err != nil {
		return writeFrame(c.sock, frameFailed, []byte(clip(err.Error(), 1000)))
	}
	return writeFrame(c.sock, frameDone, nil)
}

// parse runs the parser; a panic is its error, not the child's end. Memory of a mapped file that shrinks faults: that is a panic too.
func (c *child) parse(req request, f *os.File) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %v", Crashed, p)
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	job := &Job{File: f, Size: info.Size(), Setup: c.setup, Arg: req.Arg,
		Answer: func(b []byte) error { return writeFrame(c.sock, frameAnswer, b) },
		At:     func(at string) { _ = writeFrame(c.sock, frameAt, []byte(clip(at, 4096))) },
	}
	for i := range c.parsers {
		if c.parsers[i].Name == req.Parser {
			return c.parsers[i].Parse(job)
		}
	}
	return fmt.Errorf("no parser %q", req.Parser)
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// Patience is how long a job over size bytes may take: the base, and a second for each 8 MiB.
func Patience(base time.Duration, size int64) time.Duration {
	return base + time.Duration(min(max(size, 0), maxPatienceSize)/(8<<20))*time.Second
}

const maxPatienceSize = 1 << 30
