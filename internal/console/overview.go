package console

import (
	"net/http"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

type overviewData struct {
	Items    []health.Item
	Broken   bool
	Total    dayLine
	Kinds    []dayLine
	Days     []bar
	Apps     []archive.AppCount
	Captures []archive.Capture
	Stopped  []archive.Record // for who gave a purpose
	Named    bool
}

// dayLine is what one kind of event came to today.
type dayLine struct {
	Kind                                event.Kind
	Allowed, Held, Quarantined, Blocked int
}

func (d *dayLine) add(n archive.DayCount) {
	switch n.Action {
	case event.Block:
		d.Blocked += n.Records
	case event.Hold:
		d.Held += n.Records
	case event.Quarantine:
		d.Quarantined += n.Records
	case event.Allow:
		d.Allowed += n.Records
	}
}

// All is the sum of the line.
func (d dayLine) All() int { return d.Allowed + d.Held + d.Quarantined + d.Blocked }

const (
	trendDays  = 14
	latestStop = 6
)

func (c *Console) overview(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	now := c.Clock.Now()
	midnight, end := now.Truncate(24*time.Hour), now.Add(time.Hour)
	counts, err := c.Archive.Verdicts(r.Context(), midnight.AddDate(0, 0, 1-trendDays), end)
	if err != nil {
		return "", nil, err
	}
	d := overviewData{Items: c.Board.Items(), Broken: c.Board.Worst() != health.OK, Named: s.view != nil, Days: bars(counts, midnight)}
	d.Kinds, d.Total = byKind(counts, midnight.Format(time.DateOnly))
	if d.Apps, err = c.Archive.Apps(r.Context()); err != nil {
		return "", nil, err
	}
	captures, err := c.Archive.Captures(r.Context(), midnight, end)
	if err != nil {
		return "", nil, err
	}
	d.Captures = byConnector(captures)
	if s.view == nil {
		return "overview", d, nil
	}
	stopped, err := s.view.Events(r.Context(), archive.Filter{Actions: []event.Action{event.Block, event.Hold, event.Quarantine}}, archive.Page{Limit: latestStop})
	d.Stopped = stopped.Items
	return "overview", d, err
}

// byKind sums one day's verdicts, by kind and in all. Acts and other records without a verdict are left out.
func byKind(counts []archive.DayCount, day string) (lines []dayLine, total dayLine) {
	at := map[event.Kind]int{}
	for _, n := range counts {
		if n.Day != day || n.Action == "" {
			continue
		}
		i, ok := at[n.Kind]
		if !ok {
			i = len(lines)
			at[n.Kind] = i
			lines = append(lines, dayLine{Kind: n.Kind})
		}
		lines[i].add(n)
		total.add(n)
	}
	return lines, total
}

// byConnector sums the accounts of a connector's rooms.
func byConnector(list []archive.Capture) []archive.Capture {
	var out []archive.Capture
	at := map[string]int{}
	for _, c := range list {
		key := c.Day + " " + c.Connector
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, archive.Capture{Day: c.Day, Connector: c.Connector, Excluded: map[string]int{}, Quarantined: map[string]int{}})
		}
		out[i].Stored += c.Stored
		for why, n := range c.Excluded {
			out[i].Excluded[why] += n
		}
		for why, n := range c.Quarantined {
			out[i].Quarantined[why] += n
		}
	}
	return out
}

// bar is one day of the trend, drawn from the bottom up; heights are in the units of the picture.
type bar struct {
	Day                                string
	Line                               dayLine
	X                                  int
	AllowY, Allow, HoldY, Hold, BlockY int
	Block                              int
}

const (
	barStep   = 24
	barHeight = 64
)

func bars(counts []archive.DayCount, today time.Time) []bar {
	out := make([]bar, trendDays)
	most := 1
	for i := range out {
		day := today.AddDate(0, 0, i+1-trendDays).Format(time.DateOnly)
		out[i] = bar{Day: day, X: i * barStep}
		for _, n := range counts {
			if n.Day == day {
				out[i].Line.add(n)
			}
		}
		most = max(most, out[i].Line.All())
	}
	for i := range out {
		b := &out[i]
		b.Block = height(b.Line.Blocked, most)
		b.Hold = height(b.Line.Held+b.Line.Quarantined, most)
		b.Allow = height(b.Line.Allowed, most)
		b.AllowY = barHeight - b.Allow
		b.HoldY = b.AllowY - b.Hold
		b.BlockY = b.HoldY - b.Block
	}
	return out
}

// height gives a count its share of the picture; what is there is seen.
func height(n, most int) int {
	if n == 0 {
		return 0
	}
	return max(2, n*(barHeight-6)/most)
}
