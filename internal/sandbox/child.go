package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Child runs the parsers when the process was started as a sandbox child, and then never returns. Call it first thing in main.
func Child(args []string, parsers []Parser) {
	if len(args) < 2 || args[1] != Argument {
		return
	}
	os.Exit(serve(args[2:], parsers))
}

// serve answers requests until the parent closes the socket.
func serve(args []string, parsers []Parser) int {
	memory := uint64(defaultMemory)
	if len(args) > 0 {
		if n, err := strconv.ParseUint(args[0], 10, 63); err == nil {
			memory = n
		}
	}
	c := &child{sock: socket(socketFD), parsers: parsers}
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
	}
}

type child struct {
	sock    socket
	parsers []Parser
	setup   []byte
}

// one takes one request and answers it.
func (c *child) one() error {
	req, fd, err := c.receive()
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "job")
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

// receive reads a length, with which the descriptor comes, and the request.
func (c *child) receive() (request, int, error) {
	var head [4]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(int(c.sock), head[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_WAITALL)
	for errors.Is(err, unix.EINTR) {
		n, oobn, _, _, err = unix.Recvmsg(int(c.sock), head[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_WAITALL)
	}
	if err != nil {
		return request{}, 0, fmt.Errorf("receive: %w", err)
	}
	if n == 0 {
		return request{}, 0, io.EOF
	}
	fd, err := descriptor(oob[:oobn])
	if err != nil {
		return request{}, 0, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if n != len(head) || size > maxRequest {
		return request{}, 0, errFrameTooLarge
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.sock, body); err != nil {
		return request{}, 0, fmt.Errorf("receive: %w", err)
	}
	var req request
	if err := json.Unmarshal(body, &req); err != nil {
		return request{}, 0, fmt.Errorf("receive: %w", err)
	}
	return req, fd, nil
}

func descriptor(oob []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return 0, errors.New("receive: no descriptor")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, errors.New("receive: no descriptor")
	}
	return fds[0], nil
}

// socket reads and writes a blocking descriptor without the runtime's poller, so that the child needs few system calls.
type socket int

func (s socket) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), p)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func (s socket) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(int(s), p[done:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
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
