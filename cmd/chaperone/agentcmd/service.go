package agentcmd

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// service tells a service manager (sd_notify(3)) that the holder decides, and that it still turns.
type service struct {
	fd    int
	to    *unix.SockaddrUnix
	every time.Duration
	last  time.Time
}

// newService returns what tells the manager at a socket; with none it tells nobody.
func newService(path string) *service {
	s := &service{fd: -1}
	if path == "" {
		return s
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return s
	}
	s.fd, s.to = fd, &unix.SockaddrUnix{Name: path}
	if n, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && n > 0 {
		s.every = time.Duration(n) * time.Microsecond / 3
	}
	return s
}

func (s *service) say(text string) {
	if s.fd >= 0 {
		_ = unix.Sendto(s.fd, []byte(text), unix.MSG_NOSIGNAL, s.to) // it never waits; the next one may be heard
	}
}

// alive is called by the loop.
func (s *service) alive() {
	if s.every > 0 && time.Since(s.last) >= s.every {
		s.last = time.Now()
		s.say("WATCHDOG=1")
	}
}

func (s *service) close() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
	}
}
