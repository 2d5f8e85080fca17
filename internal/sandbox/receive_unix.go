//go:build unix

package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// socketFD is the descriptor number under which a child finds its end of the socket pair.
const socketFD = 3

// parent is the way to the parent.
func parent() socket { return socket(socketFD) }

// receive reads a length, with which the descriptor comes, and the request.
func (c *child) receive() (request, *os.File, error) {
	var head [4]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(int(c.sock), head[:], oob, receiveFlags)
	for errors.Is(err, unix.EINTR) {
		n, oobn, _, _, err = unix.Recvmsg(int(c.sock), head[:], oob, receiveFlags)
	}
	if err != nil {
		return request{}, nil, fmt.Errorf("receive: %w", err)
	}
	if n == 0 {
		return request{}, nil, io.EOF
	}
	fd, err := descriptor(oob[:oobn])
	if err != nil {
		return request{}, nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if n != len(head) || size > maxRequest {
		return request{}, nil, errFrameTooLarge
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.sock, body); err != nil {
		return request{}, nil, fmt.Errorf("receive: %w", err)
	}
	var req request
	if err := json.Unmarshal(body, &req); err != nil {
		return request{}, nil, fmt.Errorf("receive: %w", err)
	}
	return req, os.NewFile(uintptr(fd), "job"), nil
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
