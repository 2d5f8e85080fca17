// Package logs reads what other enforcers say they stopped: fapolicyd and Santa by file or syslog, AppLocker and App Control by events of Windows in
// XML (wevtutil, forwarders) or JSON (winlogbeat, NXLog), one a line.
//
// Each block, or what would have been one where the enforcer only watches, becomes an Entry; a Judge makes an event of it, as if we had been asked
// ourselves. So a rule that was exported to another enforcer shows whether it ever fired. What a log says was seen by somebody else: its evidence
// is marked as such, and never above medium. Lines, fields and what is remembered are bounded.
package logs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/logfile"
)

// Names of enforcers, as policy export calls their formats.
const (
	Fapolicyd  = "fapolicyd"
	Santa      = "santa"
	AppLocker  = "applocker"
	AppControl = "appcontrol"
)

// Formats are the names of the formats of logs, in order. One of Windows holds the events of both its enforcers.
func Formats() []string { return []string{Fapolicyd, Santa, "windows"} }

// maxText bounds a field.
const maxText = 1024

// Entry is one program that another enforcer stopped, or would have.
type Entry struct {
	Enforcer  string
	Time      time.Time
	Host      string // as the log names it, "" where it does not
	User      string // name, number or SID
	Path      string
	SHA256    string // of the whole file, where the log has that
	Publisher string // subject of the signer
	Product   string
	Version   string
	Team      string // of Apple's signatures
	Bundle    string
	Rule      string // that stopped it, as policy/export calls it; "" when the log does not tell
	Said      string // what the enforcer says of it
	Watched   bool   // it was not stopped: the enforcer only watches
}

// The parts of reading a log in this package's entries.
type (
	Follower = logfile.Follower[Entry]
	Batch    = logfile.Batch[Entry]
)

// lines reads lines that stand each for itself.
type lines struct {
	parse func(line string, now time.Time) (*Entry, error)
	now   func() time.Time
}

// Parser returns the parser of a format. Now is for lines without a year or a time.
func Parser(format string, now func() time.Time) (logfile.Parser[Entry], error) {
	parse := map[string]func(string, time.Time) (*Entry, error){Fapolicyd: fapolicyd, Santa: santa, "windows": windows}[format]
	if parse == nil {
		return nil, fmt.Errorf("log format %q: want %s", format, strings.Join(Formats(), ", "))
	}
	return lines{parse, now}, nil
}

// NewFollower returns a follower of the log at path. Its position is kept in the folder state.
func NewFollower(path, format, state string, now func() time.Time, take func(ctx context.Context, b Batch) error) (*Follower, error) {
	p, err := Parser(format, now)
	if err != nil {
		return nil, err
	}
	return logfile.NewFollower(path, state, p, take)
}

// State implements logfile.Parser.
func (lines) State() []byte { return nil }

// Restore implements logfile.Parser.
func (lines) Restore([]byte) error { return nil }

// Line implements logfile.Parser.
func (l lines) Line(b []byte) (*Entry, error) {
	now := l.now()
	e, err := l.parse(strings.ToValidUTF8(string(b), "\uFFFD"), now)
	if err != nil || e == nil {
		return nil, err
	}
	if e.Time.IsZero() {
		e.Time = now
	}
	if e.Time = e.Time.UTC(); e.Time.Year() < 1980 || e.Time.Year() > 2200 {
		return nil, errors.New("its time is none")
	}
	if e.Path == "" && e.SHA256 == "" {
		return nil, errors.New("it names no program")
	}
	for _, s := range []*string{&e.Host, &e.User, &e.Path, &e.Publisher, &e.Product, &e.Version, &e.Team, &e.Bundle, &e.Rule, &e.Said} {
		*s = cut(*s)
	}
	return e, nil
}

// cut bounds a text.
func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "") }

// sum returns a SHA-256 in lower case, "" for what is none.
func sum(s string) string {
	s = strings.ToLower(strings.TrimPrefix(s, "0x"))
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	return s
}
