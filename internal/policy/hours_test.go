package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// decidesAt reports whether a rule with these matchers decides about a flow at a moment.
func decidesAt(t *testing.T, zone, matchers string, at time.Time) bool {
	t.Helper()
	head := "version: 1\notherwise: {network: allow}\n"
	if zone != "" {
		head += "timezone: " + zone + "\n"
	}
	p := compile(t, head+"rules:\n  - {id: r, names: [a.example], "+matchers+", verdict: block}\n")
	e := &event.Event{Kind: event.FlowSeen, Content: event.Content{Flow: &event.Flow{Name: "a.example"}}}
	return p.Decide(&policy.Input{Event: e, Now: at, Final: true}).Rule == "r"
}

// TestHours walks over the edges of spans. 2026-01-05 is a Monday.
func TestHours(t *testing.T) {
	for _, test := range []struct {
		zone, hours, yes, no string // moments, separated by spaces
	}{
		{"", `"Mon-Fri 07:00-20:00"`, "2026-01-05T07:00:00Z 2026-01-09T19:59:59Z", "2026-01-05T06:59:59Z 2026-01-05T20:00:00Z 2026-01-10T12:00:00Z 2026-01-11T12:00:00Z"},
		{"", `"07:00-20:00"`, "2026-01-10T07:00:00Z 2026-01-11T12:00:00Z", "2026-01-10T06:59:00Z 2026-01-11T20:00:00Z"},
		{"", `"Sat 00:00-24:00"`, "2026-01-10T00:00:00Z 2026-01-10T23:59:59Z", "2026-01-09T23:59:59Z 2026-01-11T00:00:00Z"},
		{"", `"Fri 22:00-06:00"`, "2026-01-09T22:00:00Z 2026-01-10T05:59:59Z", "2026-01-09T21:59:59Z 2026-01-10T06:00:00Z 2026-01-10T22:00:00Z 2026-01-09T05:00:00Z"},
		{"", `"Fri-Mon 10:00-11:00"`, "2026-01-09T10:30:00Z 2026-01-10T10:30:00Z 2026-01-11T10:30:00Z 2026-01-12T10:30:00Z", "2026-01-13T10:30:00Z 2026-01-08T10:30:00Z"},
		{"", `"Sun 23:00-01:00"`, "2026-01-11T23:30:00Z 2026-01-12T00:59:00Z", "2026-01-11T00:30:00Z 2026-01-12T01:00:00Z"},
		{"", `["Mon 08:00-09:00", "Wed 10:00-11:00"]`, "2026-01-05T08:30:00Z 2026-01-07T10:30:00Z", "2026-01-05T10:30:00Z 2026-01-07T08:30:00Z"},
		{"", `"Mon 08:00-09:00, Wed 10:00-11:00"`, "2026-01-05T08:30:00Z 2026-01-07T10:30:00Z", "2026-01-06T08:30:00Z"},
		{"", `"monday-FRIDAY 07:00-20:00"`, "2026-01-07T12:00:00Z", "2026-01-10T12:00:00Z"},
		{"", `"Tue 12:00-12:01"`, "2026-01-06T12:00:59Z", "2026-01-06T12:01:00Z"},
		{"Europe/Zurich", `"Mon 09:00-17:00"`, "2026-01-05T08:00:00Z 2026-07-06T07:00:00Z", "2026-01-05T07:59:00Z 2026-01-05T16:00:00Z 2026-07-06T06:59:00Z 2026-07-06T15:00:00Z"},
		{"America/New_York", `"Mon 09:00-17:00"`, "2026-01-05T14:00:00Z 2026-07-06T13:00:00Z", "2026-01-05T13:59:00Z 2026-07-06T12:59:00Z"},
		{"Asia/Tokyo", `"Mon 00:00-01:00"`, "2026-01-04T15:00:00Z", "2026-01-05T00:30:00Z"}, // Monday comes there on our Sunday
		{"Asia/Kathmandu", `"Mon 09:00-10:00"`, "2026-01-05T03:15:00Z", "2026-01-05T03:14:00Z"},
		{"Pacific/Kiritimati", `"Tue 00:00-01:00"`, "2026-01-05T10:00:00Z", "2026-01-06T00:30:00Z"},
		// Summer time begins on 2026-03-29 at 01:00 UTC: 02:30 does not happen in Zurich.
		{"Europe/Zurich", `"Sun 02:00-03:00"`, "2026-03-22T01:30:00Z 2026-04-05T00:30:00Z", "2026-03-29T00:59:00Z 2026-03-29T01:00:00Z 2026-03-29T01:30:00Z"},
		{"Europe/Zurich", `"Sun 01:00-04:00"`, "2026-03-29T00:00:00Z 2026-03-29T01:59:00Z", "2026-03-29T02:00:00Z"},
		// It ends on 2026-10-25 at 01:00 UTC: 02:30 happens twice.
		{"Europe/Zurich", `"Sun 02:00-03:00"`, "2026-10-25T00:30:00Z 2026-10-25T01:30:00Z", "2026-10-24T23:59:00Z 2026-10-25T02:00:00Z"},
		{"Europe/Zurich", `"Sat 22:00-06:00"`, "2026-10-24T20:00:00Z 2026-10-25T04:59:00Z", "2026-10-25T05:00:00Z"},
	} {
		for want, moments := range map[bool]string{true: test.yes, false: test.no} {
			for moment := range strings.FieldsSeq(moments) {
				at, err := time.Parse(time.RFC3339, moment)
				if err != nil {
					t.Fatal(err)
				}
				if got := decidesAt(t, test.zone, "hours: "+test.hours, at); got != want {
					t.Errorf("hours %s in %q at %s: holds %v, want %v", test.hours, test.zone, moment, got, want)
				}
			}
		}
	}
}

// TestUntil: a day holds to its end in the policy's zone, a moment up to itself.
func TestUntil(t *testing.T) {
	for _, test := range []struct{ zone, until, last, first string }{
		{"", "2027-01-31", "2027-01-31T23:59:59Z", "2027-02-01T00:00:00Z"},
		{"Europe/Zurich", "2027-01-31", "2027-01-31T22:59:59Z", "2027-01-31T23:00:00Z"},
		{"Europe/Zurich", "2026-07-31", "2026-07-31T21:59:59Z", "2026-07-31T22:00:00Z"},
		{"Europe/Zurich", "2026-03-29", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"}, // a day of 23 hours
		{"Europe/Zurich", "2026-10-25", "2026-10-25T22:59:59Z", "2026-10-25T23:00:00Z"}, // a day of 25 hours
		{"America/New_York", "2026-12-31", "2027-01-01T04:59:59Z", "2027-01-01T05:00:00Z"},
		{"", "2028-02-29", "2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z"},
		{"Asia/Tokyo", `"2027-01-31T12:00:00Z"`, "2027-01-31T11:59:59Z", "2027-01-31T12:00:00Z"},
		{"Asia/Tokyo", `"2027-01-31T12:00:00+02:00"`, "2027-01-31T09:59:59Z", "2027-01-31T10:00:00Z"},
	} {
		for moment, want := range map[string]bool{test.last: true, test.first: false, "2020-01-01T00:00:00Z": true, "2040-01-01T00:00:00Z": false} {
			at, err := time.Parse(time.RFC3339, moment)
			if err != nil {
				t.Fatal(err)
			}
			if got := decidesAt(t, test.zone, "until: "+test.until, at); got != want {
				t.Errorf("until %s in %q at %s: holds %v, want %v", test.until, test.zone, moment, got, want)
			}
		}
	}
}

// TestReceivedStandsForNow: without a time of its own an input is decided at the time the event came in.
func TestReceivedStandsForNow(t *testing.T) {
	p := compile(t, "version: 1\notherwise: {network: allow}\nrules:\n  - {id: r, names: [a.example], hours: 'Mon 09:00-10:00', verdict: block}\n")
	for hour, want := range map[int]string{8: "otherwise", 9: "r", 10: "otherwise"} {
		at := time.Date(2026, 1, 5, hour, 0, 0, 0, time.UTC)
		e := &event.Event{Kind: event.FlowSeen, Time: at.Add(-time.Hour), Received: at, Content: event.Content{Flow: &event.Flow{Name: "a.example"}}}
		if v := p.Decide(&policy.Input{Event: e, Final: true}); v.Rule != want {
			t.Errorf("received at %d: %+v", hour, v)
		}
		if v := p.Redecide(e); v.Rule != want {
			t.Errorf("from a record of %d: %+v", hour, v)
		}
	}
}

// TestNextChangeOf asks for the next moment of one rule.
func TestNextChangeOf(t *testing.T) {
	for _, test := range []struct{ zone, matchers, now, want string }{
		{"UTC", "hours: 'Mon-Fri 07:00-20:00'", "2026-01-05T06:00:00Z", "2026-01-05T07:00:00Z"},
		{"UTC", "hours: 'Mon-Fri 07:00-20:00'", "2026-01-05T07:00:00Z", "2026-01-05T20:00:00Z"},
		{"UTC", "hours: 'Mon-Fri 07:00-20:00'", "2026-01-09T20:00:00Z", "2026-01-12T07:00:00Z"},
		{"UTC", "hours: 'Mon 07:00-08:00'", "2026-01-05T08:00:00Z", "2026-01-12T07:00:00Z"},
		{"UTC", "hours: 'Fri 22:00-06:00'", "2026-01-10T01:00:00Z", "2026-01-10T06:00:00Z"},
		{"UTC", "hours: 'Sun 20:00-24:00'", "2026-01-11T21:00:00Z", "2026-01-12T00:00:00Z"},
		{"UTC", "until: 2026-01-31", "2026-01-05T00:00:00Z", "2026-02-01T00:00:00Z"},
		{"UTC", "until: 2026-01-31", "2026-02-01T00:00:00Z", ""},
		{"UTC", "until: 2026-01-05, hours: 'Tue 07:00-08:00'", "2026-01-05T12:00:00Z", "2026-01-06T00:00:00Z"},
		{"Europe/Zurich", "until: 2026-01-31", "2026-01-05T00:00:00Z", "2026-01-31T23:00:00Z"},
		{"Europe/Zurich", "hours: 'Sun 01:00-04:00'", "2026-03-29T00:30:00Z", "2026-03-29T02:00:00Z"},
		{"Europe/Zurich", "hours: 'Sun 01:00-04:00'", "2026-10-25T00:30:00Z", "2026-10-25T03:00:00Z"},
		// What begins at a time that is left out begins when clocks are turned; what comes twice begins and ends twice.
		{"Europe/Zurich", "hours: 'Sun 02:15-04:00'", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"},
		{"Europe/Zurich", "hours: 'Sun 01:00-02:15'", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"},
		{"Europe/Zurich", "hours: 'Sun 02:15-02:45'", "2026-03-29T00:30:00Z", "2026-04-05T00:15:00Z"},
		{"America/New_York", "hours: 'Sun 02:15-17:15'", "2026-03-08T06:20:00Z", "2026-03-08T07:00:00Z"},
		{"Europe/Zurich", "hours: 'Sun 02:15-02:45'", "2026-10-25T00:00:00Z", "2026-10-25T00:15:00Z"},
		{"Europe/Zurich", "hours: 'Sun 02:15-02:45'", "2026-10-25T00:45:00Z", "2026-10-25T01:15:00Z"},
		{"Europe/Zurich", "hours: 'Sun 02:15-02:45'", "2026-10-25T01:15:00Z", "2026-10-25T01:45:00Z"},
		{"Europe/Zurich", "hours: 'Sun 02:30-12:00'", "2026-10-25T00:45:00Z", "2026-10-25T01:00:00Z"},
		{"UTC", "ports: [443]", "2026-01-05T00:00:00Z", ""},
	} {
		p := compile(t, "version: 1\ntimezone: "+test.zone+"\nrules:\n  - {id: r, names: [a.example], "+test.matchers+", verdict: block}\n")
		now, err := time.Parse(time.RFC3339, test.now)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if next := p.NextChange(now); !next.IsZero() {
			got = next.UTC().Format(time.RFC3339)
		}
		if got != test.want {
			t.Errorf("%s in %s: after %s comes %s, want %s", test.matchers, test.zone, test.now, got, test.want)
		}
	}
}

// TestNextChangeIsTheEarliest: of several rules the first moment counts, wherever its rule stands.
func TestNextChangeIsTheEarliest(t *testing.T) {
	p := compile(t, `version: 1
rules:
  - {id: a, names: [a.example], until: 2026-02-01, verdict: allow}
  - {id: b, names: [a.example], hours: "Mon 18:00-19:00", verdict: allow}
  - {id: c, messages: "true", hours: "Mon 17:00-23:00", verdict: block}
  - {id: d, names: [a.example], verdict: allow}
`)
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	for _, hour := range []int{17, 18, 19, 23} {
		now = p.NextChange(now)
		if now.Hour() != hour || now.Day() != 5 {
			t.Errorf("next change at %v, want %d o'clock", now, hour)
		}
	}
}
