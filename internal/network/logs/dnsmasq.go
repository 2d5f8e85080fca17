package logs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// dnsmasq reads the log of questions (log-queries, also =extra), in a file of its own or from syslog in its traditional or its RFC 3339 form.
// Questions become entries; what was answered says nothing more of who asked.
type dnsmasq struct {
	now  func() time.Time
	form *regexp.Regexp
}

func newDnsmasq(now func() time.Time) *dnsmasq {
	return &dnsmasq{now: now, form: regexp.MustCompile(
		`^(?:([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)|(\d{4}-\d\d-\d\dT\S+)) (?:\S+ )?dnsmasq(?:-dns)?(?:\[\d+\])?: (?:\d+ \S+/\d+ )?([a-z-]+(?:\[[^\]\s]+\])?) (\S+) (?:from|is|to) (\S+)`)}
}

func (*dnsmasq) state() []byte        { return nil }
func (*dnsmasq) restore([]byte) error { return nil }

func (d *dnsmasq) line(b []byte) (*Entry, error) {
	if len(b) == 0 {
		return nil, nil
	}
	m := d.form.FindSubmatch(b)
	if m == nil {
		if strings.Contains(string(b[:min(len(b), 200)]), "dnsmasq") {
			return nil, nil // it speaks of something else: a start, a lease, a reply that says NXDOMAIN
		}
		return nil, errors.New("it is no line of dnsmasq")
	}
	what, name, value := string(m[3]), string(m[4]), string(m[5])
	at, err := d.time(string(m[1]), string(m[2]))
	if err != nil {
		return nil, err
	}
	kind, ok := strings.CutPrefix(what, "query[")
	if !ok {
		return nil, nil
	}
	e := &Entry{Kind: Question, Time: at, Proto: "udp", Name: name, How: "dns", Type: strings.TrimSuffix(kind, "]")}
	if e.Client, err = join(value, 0); err != nil {
		return nil, err
	}
	return e, nil
}

// time reads either form. The traditional one leaves the year out and is in local time: it is the last year in which that is not the future.
func (d *dnsmasq) time(traditional, full string) (time.Time, error) {
	if full != "" {
		t, err := time.Parse(time.RFC3339Nano, full)
		if err != nil {
			return time.Time{}, fmt.Errorf("%.40q is no time", full)
		}
		return recordable(t)
	}
	now := d.now()
	for year := now.Year() + 1; year >= now.Year()-8; year-- { // eight: 29 February about the year 2100
		t, err := time.ParseInLocation("2006 Jan _2 15:04:05", fmt.Sprintf("%d %s", year, traditional), time.Local)
		if err == nil && t.Before(now.Add(24*time.Hour)) {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time", traditional)
}
