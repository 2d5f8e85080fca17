// Package logs reads the logs of other programs as weaker sensors: Zeek (conn, dns, ssl, http and quic; tab-separated or JSON), Suricata EVE,
// Squid's native access log and dnsmasq's log of questions.
//
// Each line becomes an Entry: a flow or a question, with the facts that the other program saw. A Judge names the messenger by the catalog, asks
// policy, and makes an event of it. What a log says was seen by somebody else: its evidence is marked as from a log, and its confidence is
// never above medium. A line that is none is counted with the first of its kind, and the next one is read. Lines, fields and what is
// remembered between lines are bounded.
package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/logfile"
)

// MaxLine bounds a line, in bytes. A longer one is skipped and counted.
const MaxLine = logfile.MaxLine

// Bounds of what a line may say.
const (
	maxText    = 1024
	maxAnswers = 32
)

// Formats are the names of the formats, in order.
func Formats() []string { return []string{"dnsmasq", "squid", "suricata", "zeek"} }

// Kind of an Entry.
type Kind int

// The kinds of entries.
const (
	Flow Kind = iota
	Question
)

// Entry is what one line says.
type Entry struct {
	Kind     Kind
	Time     time.Time
	Proto    string         // tcp, udp or icmp
	Client   netip.AddrPort // port 0 where the log has none
	Server   netip.AddrPort // zero where the log has none
	Name     string         // SNI, host or question
	How      string         // what Name is: sni, host or dns; of a flow, "" when it has none
	Type     string         // of a question
	Answers  []string       // addresses
	JA4      string
	ALPN     string
	Protocol string // as the program calls it, e.g. ssl or irc
	User     string // who signed in at a proxy
	Packets  int64
	Bytes    int64
	Flow     string // the program's own id of the flow, by which lines belong together
}

// parser reads the lines of one file, in order.
type parser interface {
	// line returns what a line says, nil when it says nothing that concerns us.
	line(b []byte) (*Entry, error)
	// state returns what later lines need of earlier ones, to be given to restore after a restart.
	state() []byte
	restore(b []byte) error
}

// errFormat says that there is no such format.
var errFormat = errors.New("want dnsmasq, squid, suricata or zeek")

func newParser(format string, now func() time.Time) (parser, error) {
	switch format {
	case "zeek":
		return &zeek{}, nil
	case "suricata":
		return suricata{}, nil
	case "squid":
		return squid{}, nil
	case "dnsmasq":
		return newDnsmasq(now), nil
	}
	return nil, fmt.Errorf("log format %q: %w", format, errFormat)
}

// The parts of reading a log in this package's entries.
type (
	Reader   = logfile.Reader[Entry]
	Follower = logfile.Follower[Entry]
	Batch    = logfile.Batch[Entry]
	Item     = logfile.Item[Entry]
	Trouble  = logfile.Trouble
)

// lines makes the parser of a format one of files.
type lines struct{ p parser }

// Line implements logfile.Parser.
func (l lines) Line(b []byte) (*Entry, error) { return parse(l.p, b) }

// State implements logfile.Parser.
func (l lines) State() []byte { return l.p.state() }

// Restore implements logfile.Parser.
func (l lines) Restore(b []byte) error { return l.p.restore(b) }

// NewReader returns a reader of a log in a format. Now is for logs that leave the year out.
func NewReader(format string, in io.Reader, now func() time.Time) (*Reader, error) {
	p, err := newParser(format, now)
	if err != nil {
		return nil, err
	}
	return logfile.NewReader(in, lines{p}), nil
}

// NewFollower returns a follower of the log at path. Its position is kept in the folder state.
func NewFollower(path, format, state string, now func() time.Time, take func(ctx context.Context, b Batch) error) (*Follower, error) {
	p, err := newParser(format, now)
	if err != nil {
		return nil, err
	}
	return logfile.NewFollower(path, state, lines{p}, take)
}

// parse reads one line, and holds what it says within bounds.
func parse(p parser, line []byte) (*Entry, error) {
	e, err := p.line(line)
	if err != nil || e == nil {
		return nil, err
	}
	if !e.Client.Addr().IsValid() {
		return nil, errors.New("it names no client")
	}
	if e.Time.IsZero() || e.Time.Year() < 1980 || e.Time.Year() > 2200 {
		return nil, errors.New("it has no time")
	}
	e.Time = e.Time.UTC()
	e.Name = foldName(e.Name)
	for _, s := range []*string{&e.Name, &e.Type, &e.JA4, &e.ALPN, &e.Protocol, &e.User, &e.Flow} {
		*s = strings.ToValidUTF8((*s)[:min(len(*s), maxText)], "\uFFFD")
	}
	if e.Name == "" {
		e.How = ""
	}
	if len(e.Answers) > maxAnswers {
		e.Answers = e.Answers[:maxAnswers]
	}
	e.Answers = slices.DeleteFunc(e.Answers, func(a string) bool { _, err := netip.ParseAddr(a); return err != nil })
	e.Packets, e.Bytes = max(e.Packets, 0), max(e.Bytes, 0)
	return e, nil
}

// foldName makes names equal that are: lower case, without the last dot.
func foldName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// join makes an address and port of texts; a port that is none is 0.
func join(addr string, port int64) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(strings.Trim(addr, "[]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%.60q is no address", addr)
	}
	if port < 0 || port > 65535 {
		return netip.AddrPort{}, fmt.Errorf("%d is no port", port)
	}
	return netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(port)), nil
}

// hostName returns the name in a Host header: without its port, and nothing of what is an address.
func hostName(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return ""
	}
	return host
}

// recordable refuses a time that only its zone brings within the years of RFC 3339: no record and no observation could hold it.
func recordable(t time.Time) (time.Time, error) {
	if y := t.UTC().Year(); y < 0 || y > 9999 {
		return time.Time{}, fmt.Errorf("the year %d is none", y)
	}
	return t, nil
}
