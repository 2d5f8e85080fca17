package ledger

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// syslog sends a bundle as RFC 5424 messages, in parts that fit. Its acknowledgement is only that the bytes were taken by the connection.
type syslog struct {
	network, address string
	part             int // bytes of base64 in one message
}

// priority is facility 13 (log audit), severity 5 (notice): RFC 5424, section 6.2.1.
const priority = 13*8 + 5

func newSyslog(spec string) (*syslog, error) {
	if path, ok := strings.CutPrefix(spec, "unix:"); ok {
		return &syslog{network: "unixgram", address: path, part: 6000}, nil
	}
	u, err := url.Parse(spec)
	if err != nil {
		return nil, err
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		return nil, fmt.Errorf("syslog: %w", err)
	}
	switch u.Scheme {
	case "udp":
		return &syslog{network: "udp", address: u.Host, part: 800}, nil
	case "tcp":
		return &syslog{network: "tcp", address: u.Host, part: 6000}, nil
	}
	return nil, errors.New("syslog: want udp, tcp or unix")
}

// Near implements placed: a log server on this machine is no place outside.
func (s *syslog) Near(string) bool {
	if s.network == "unixgram" {
		return true
	}
	host, _, err := net.SplitHostPort(s.address)
	return err == nil && onThisMachine(host)
}

// Send writes the parts of the bundle, each with its number, over one connection.
func (s *syslog) Send(ctx context.Context, b Bundle) error {
	raw, err := b.Encode()
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, s.network, s.address)
	if err != nil {
		return fmt.Errorf("syslog: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("syslog: %w", err)
		}
	}
	text := base64.StdEncoding.EncodeToString(raw)
	parts := (len(text) + s.part - 1) / s.part
	for i := range parts {
		m := s.message(b, i+1, parts, text[i*s.part:min(len(text), (i+1)*s.part)])
		if s.network == "tcp" {
			m = strconv.Itoa(len(m)) + " " + m // octet counting: RFC 6587, section 3.4.1
		}
		if _, err := conn.Write([]byte(m)); err != nil {
			return fmt.Errorf("syslog: %w", err)
		}
	}
	return nil
}

func (s *syslog) message(b Bundle, part, parts int, text string) string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	return fmt.Sprintf(`<%d>1 %s %s chaperone %d checkpoint [checkpoint@32473 from="%d" to="%d" part="%d" parts="%d"] %s`,
		priority, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), host, os.Getpid(), b.From, b.To, part, parts, text)
}
