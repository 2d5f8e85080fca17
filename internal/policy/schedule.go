package policy

import (
	"fmt"
	"strings"
	"time"
)

// span is a time of the week: on some days from a minute to a minute. When it passes midnight it belongs to the day it begins.
type span struct {
	days     [7]bool // by time.Weekday
	from, to int     // minutes since midnight; to may be 24*60
}

func (s span) has(t time.Time) bool {
	minute, day := t.Hour()*60+t.Minute(), t.Weekday()
	if s.from < s.to {
		return s.days[day] && s.from <= minute && minute < s.to
	}
	yesterday := (day + 6) % 7
	return s.days[day] && minute >= s.from || s.days[yesterday] && minute < s.to
}

// newSpans reads "Mon-Fri 07:00-20:00", several of them separated by commas.
func newSpans(text string) ([]span, error) {
	var out []span
	for part := range strings.SplitSeq(text, ",") {
		s, err := newSpan(strings.Fields(part))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func newSpan(words []string) (span, error) {
	var s span
	if len(words) == 1 {
		words = []string{"Mon-Sun", words[0]}
	}
	if len(words) != 2 {
		return s, fmt.Errorf("hours are written as Mon-Fri 07:00-20:00")
	}
	first, last, isRange := strings.Cut(words[0], "-")
	if !isRange {
		last = first
	}
	a, ok1 := weekday(first)
	b, ok2 := weekday(last)
	if !ok1 || !ok2 {
		return s, fmt.Errorf("%q is not a day or a range of days such as Mon-Fri", words[0])
	}
	for d := a; ; d = (d + 1) % 7 {
		s.days[d] = true
		if d == b {
			break
		}
	}
	from, to, _ := strings.Cut(words[1], "-")
	var err1, err2 error
	s.from, err1 = minutes(from)
	s.to, err2 = minutes(to)
	if err1 != nil || err2 != nil || s.from == s.to {
		return s, fmt.Errorf("%q is not a span such as 07:00-20:00", words[1])
	}
	return s, nil
}

func weekday(s string) (time.Weekday, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if len(s) >= 3 && strings.EqualFold(s, d.String()[:min(len(s), len(d.String()))]) {
			return d, true
		}
	}
	return 0, false
}

func minutes(s string) (int, error) {
	if s == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, err
	}
	return t.Hour()*60 + t.Minute(), nil
}

// newUntil reads the last day of a rule, or its last moment. It returns the moment at which the rule has ended.
func newUntil(s string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	t, err := time.ParseInLocation(time.DateOnly, s, zone)
	if err != nil {
		return time.Time{}, fmt.Errorf("until is a day such as 2027-01-31 or a moment in RFC 3339")
	}
	return t.AddDate(0, 0, 1), nil
}

// NextChange returns the next moment after now at which hours or until of some rule begin or end to hold, or the zero time when there is
// none. A verdict on a flow stands until then.
func (p *Policy) NextChange(now time.Time) time.Time {
	var next time.Time
	consider := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	local := now.In(p.zone)
	offsets := offsetsAbout(local)
	_, turned := local.ZoneBounds() // when clocks are turned next: times of the day are left out there, or come twice
	for _, r := range p.rules {
		if !r.until.IsZero() {
			consider(r.until)
		}
		for _, s := range r.hours {
			if !turned.IsZero() && s.has(turned) != s.has(turned.Add(-time.Nanosecond)) {
				consider(turned)
			}
			s.ends(local, func(wall time.Time) {
				for _, o := range offsets {
					moment := wall.Add(-o).In(p.zone)
					if _, seconds := moment.Zone(); time.Duration(seconds)*time.Second == o {
						consider(moment)
					}
				}
			})
		}
	}
	return next
}

// offsetsAbout returns the offsets from UTC that clocks have in the days about a moment: two when they are turned.
func offsetsAbout(t time.Time) []time.Duration {
	_, before := t.AddDate(0, 0, -3).Zone()
	_, after := t.AddDate(0, 0, 10).Zone()
	out := []time.Duration{time.Duration(before) * time.Second}
	if after != before {
		out = append(out, time.Duration(after)*time.Second)
	}
	return out
}

// ends calls f with what clocks show, as if it were UTC, when the span begins and ends in the days about a moment.
func (s span) ends(about time.Time, f func(wall time.Time)) {
	for day := -1; day <= 7; day++ {
		midnight := time.Date(about.Year(), about.Month(), about.Day()+day, 0, 0, 0, 0, time.UTC)
		if !s.days[midnight.Weekday()] {
			continue
		}
		to := s.to
		if to <= s.from {
			to += 24 * 60
		}
		f(midnight.Add(time.Duration(s.from) * time.Minute))
		f(midnight.Add(time.Duration(to) * time.Minute))
	}
}
