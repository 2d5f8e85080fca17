package logfile

import (
	"regexp"
	"time"
)

// Syslog is the head of a line that went through syslog.
type Syslog struct {
	Time time.Time // zero where the line has none
	Host string
	Rest string // the message, after the program's name
}

var (
	// RFC 5424: <PRI>1 TIME HOST APP PID MSGID SD MSG.
	modern = regexp.MustCompile(`^<\d{1,3}>1 (\S+) (\S+) \S+ \S+ \S+ (?:-|(?:\[[^\]]*\])+) ?(.*)$`)
	// RFC 3164 as files have it, with the time of either RFC: TIME HOST PROGRAM[PID]: MSG.
	classic = regexp.MustCompile(`^(?:<\d{1,3}>)?([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+) (\S+) [^\s:\[]+(?:\[\d+\])?: ?(.*)$`)
)

// ParseSyslog takes the head off a line. A line without one is its own message. Times without a year are those of the year that is nearest.
func ParseSyslog(line string, now time.Time) Syslog {
	m := modern.FindStringSubmatch(line)
	if m == nil {
		m = classic.FindStringSubmatch(line)
	}
	if m == nil {
		return Syslog{Rest: line}
	}
	out := Syslog{Host: m[2], Rest: m[3]}
	if out.Host == "-" {
		out.Host = ""
	}
	if t, err := time.Parse(time.RFC3339Nano, m[1]); err == nil {
		out.Time = t.UTC()
		return out
	}
	if t, err := time.ParseInLocation(time.Stamp, m[1], now.Location()); err == nil {
		out.Time = nearest(t, now).UTC()
	}
	return out
}

// nearest gives a time without a year the year in which it lies nearest to now.
func nearest(t, now time.Time) time.Time {
	t = t.AddDate(now.Year(), 0, 0)
	switch {
	case t.Sub(now) > 183*24*time.Hour:
		return t.AddDate(-1, 0, 0)
	case now.Sub(t) > 183*24*time.Hour:
		return t.AddDate(1, 0, 0)
	}
	return t
}
