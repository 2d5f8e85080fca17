package verify

import (
	"fmt"
	"slices"
	"time"
)

// rolls counts the records of each day and holds the counts that day rolls state against them.
type rolls struct {
	result *Result
	open   map[string][]dayFrame // by stream and day: records in no roll yet, by frame
	number map[string]int        // by stream and day: of the last roll
}

type dayFrame struct {
	sequence uint64
	records  int
}

const rollPhase = "ledger.roll"

func newRolls(r *Result) *rolls {
	return &rolls{result: r, open: map[string][]dayFrame{}, number: map[string]int{}}
}

// see takes the next record of a stream.
func (r *rolls) see(h header, at Finding) {
	if h.Kind == "act" && h.Phase == rollPhase {
		r.check(h, at)
		return
	}
	key := at.Stream + " " + dayOf(h)
	list := r.open[key]
	if n := len(list); n > 0 && list[n-1].sequence == at.Sequence {
		list[n-1].records++
		return
	}
	r.open[key] = append(list, dayFrame{at.Sequence, 1})
}

func (r *rolls) check(h header, at Finding) {
	r.result.Rolls++
	at.Kind = RollDiffers
	var n, want int
	var through uint64
	day, _, _ := splitTime(h.Time)
	key := at.Stream + " " + day
	if _, err := fmt.Sscanf(h.Reason, "roll=%d records=%d through=%d", &n, &want, &through); err != nil {
		at.Detail = "a day roll that does not say what it counts"
		r.result.add(at)
		return
	}
	have := 0
	r.open[key] = slices.DeleteFunc(r.open[key], func(f dayFrame) bool {
		if f.sequence <= through {
			have += f.records
		}
		return f.sequence <= through
	})
	if len(r.open[key]) == 0 {
		delete(r.open, key)
	}
	r.number[key]++
	if n != r.number[key] {
		at.Detail = fmt.Sprintf("roll %d of %s where roll %d must follow", n, day, r.number[key])
		r.result.add(at)
	}
	if have != want {
		at.Detail = fmt.Sprintf("roll %d of %s counts %d records, the store has %d", n, day, want, have)
		r.result.add(at)
	}
}

func (r *rolls) finish() {
	if r.result.Rolls > 0 {
		r.result.note("%d day rolls: their counts were checked; without the roll key and the contents their roots were not", r.result.Rolls)
	}
}

// dayOf returns the UTC day of a record: of gateway time for what was seen live, of source time for imports, unless that lies more than an
// hour after the receipt.
func dayOf(h header) string {
	received, at, ok := splitTime(h.Received)
	source, t, hasTime := splitTime(h.Time)
	if !ok || h.Source == "import" && hasTime && !t.After(at.Add(time.Hour)) {
		return source
	}
	return received
}

func splitTime(s string) (day string, t time.Time, ok bool) {
	t, err := time.Parse(timeLayout, s)
	if err != nil {
		return "0001-01-01", time.Time{}, false
	}
	return t.Format(time.DateOnly), t, true
}
