// Package loopback finds addresses for those who must name one before somebody listens there: a demonstration, a test that starts a server
// again at the address that it had.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports lie below those that a system gives to whoever asks for any: 32768 and up on Linux, 49152 and up elsewhere. One of those may
// become the own end of anybody's connection between the look and the use, and cannot be listened at until that is over.
const (
	lowest   = 12000
	highest  = 31999
	attempts = 100
)

// Address returns an address of 127.0.0.1 at which nobody listens, for TCP and for UDP. Nothing holds it, but it is found at random, and by
// nobody who only wants to connect.
func Address() (string, error) {
	var last error
	for range attempts {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowest+rand.IntN(highest-lowest+1)))
		if last = free(addr); last == nil {
			return addr, nil
		}
	}
	return "", fmt.Errorf("find a free port: %w", last)
}

// free listens at an address for a moment.
func free(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	return c.Close()
}
