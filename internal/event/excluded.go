package event

import (
	"strconv"
	"strings"
	"time"
)

// CaptureCount is the action of an act that says how many events of its connector and room were seen and are no records of their own
// (law 3: seen = stored + excluded + quarantined).
const CaptureCount = "capture.count"

// Excluded is how many events of one day (UTC, 2006-01-02) were left out for one reason.
type Excluded struct {
	Day    string
	Reason string
	N      uint64
}

// maxExcluded bounds one number, so that sums of them cannot overflow.
const maxExcluded = 1 << 40

// NewCaptureCount returns the act of one connector and room ("" for what belongs to none).
func NewCaptureCount(connector, room string, counts ...Excluded) *Event {
	act := &ActDetail{Action: CaptureCount}
	for _, c := range counts {
		act.Details = append(act.Details, Fact{Name: c.Day + " " + c.Reason, Value: strconv.FormatUint(c.N, 10)})
	}
	return &Event{ID: NewID(), Kind: Act, Phase: CaptureCount, Connector: connector, Room: Room{Name: room}, Content: Content{Act: act}}
}

// ExcludedIn returns the counts of such an act, and none of any other event. What does not read as a count is left out.
func ExcludedIn(e *Event) []Excluded {
	if e.Kind != Act || e.Act == nil || e.Act.Action != CaptureCount {
		return nil
	}
	var out []Excluded
	for _, d := range e.Act.Details {
		day, reason, _ := strings.Cut(d.Name, " ")
		n, err := strconv.ParseUint(d.Value, 10, 64)
		if _, bad := time.Parse(time.DateOnly, day); bad != nil || err != nil || n == 0 || n > maxExcluded {
			continue
		}
		out = append(out, Excluded{day, reason, n})
	}
	return out
}
