package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// socket is the way to the parent: standard input and output.
type socket struct{}

// parent is the way to the parent.
func parent() socket { return socket{} }

// Read reads what the parent says.
func (socket) Read(p []byte) (int, error) { return os.Stdin.Read(p) }

// Write answers.
func (socket) Write(p []byte) (int, error) { return os.Stdout.Write(p) }

// receive reads a length, the place of the file in our table, and the request.
func (c *child) receive() (request, *os.File, error) {
	var head [12]byte
	if _, err := io.ReadFull(c.sock, head[:]); errors.Is(err, io.EOF) {
		return request{}, nil, io.EOF
	} else if err != nil {
		return request{}, nil, fmt.Errorf("receive: %w", err)
	}
	f := os.NewFile(uintptr(binary.BigEndian.Uint64(head[4:])), "job")
	if f == nil {
		return request{}, nil, errors.New("receive: no file")
	}
	var req request
	size := binary.BigEndian.Uint32(head[:4])
	if size > maxRequest {
		return request{}, nil, errors.Join(errFrameTooLarge, f.Close())
	}
	body := make([]byte, size)
	_, err := io.ReadFull(c.sock, body)
	if err == nil {
		err = json.Unmarshal(body, &req)
	}
	if err != nil {
		return request{}, nil, errors.Join(fmt.Errorf("receive: %w", err), f.Close())
	}
	return req, f, nil
}
