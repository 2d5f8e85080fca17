package inspect

import (
	"context"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// MaxText is the longest text that inspectors look into, in bytes; longer ones are not inspected: oversize.
const MaxText = 1 << 20

// maxHung is how many calls of one inspector may be under way. Beyond it, it is unavailable: a hung inspector cannot eat the machine.
const maxHung = 256

// Immediate is an inspector that answers from memory, in time bounded by the size of the text. It is not given a goroutine of its own.
type Immediate interface {
	Inspector
	Immediate()
}

// Runner runs inspectors side by side under one deadline. It is safe for concurrent use.
type Runner struct {
	inspectors []Inspector
	slots      []chan struct{}
	deadline   time.Duration
}

// New returns a runner of these inspectors, which gives each call of Run the deadline.
func New(inspectors []Inspector, deadline time.Duration) *Runner {
	r := &Runner{inspectors: inspectors, deadline: deadline}
	for range inspectors {
		r.slots = append(r.slots, make(chan struct{}, maxHung))
	}
	return r
}

// Version names every inspector with its version.
func (r *Runner) Version() string {
	var names []string
	for _, i := range r.inspectors {
		names = append(names, i.Name()+" "+i.Version())
	}
	return strings.Join(names, ", ")
}

// Run inspects the items with every inspector and merges what they found, in the order of items and inspectors. An inspector that does not
// answer by the deadline, or that fails, is "not inspected" with a reason. A file without a type gets the type that its content has.
func (r *Runner) Run(ctx context.Context, items ...*Item) Result {
	ctx, cancel := context.WithTimeout(ctx, r.deadline)
	defer cancel()
	answers := make([]chan Result, len(items)*len(r.inspectors))
	results := make([]Result, len(answers))
	for n := range answers {
		item, i := items[n/len(r.inspectors)], n%len(r.inspectors)
		if _, ok := r.inspectors[i].(Immediate); !ok {
			answers[n] = r.start(ctx, i, item)
		}
	}
	for n := range answers {
		item, i := items[n/len(r.inspectors)], r.inspectors[n%len(r.inspectors)]
		if answers[n] == nil {
			results[n] = ask(ctx, i, item)
			continue
		}
		select {
		case results[n] = <-answers[n]:
		case <-ctx.Done():
			select { // an answer that came in time is taken even when we look late
			case results[n] = <-answers[n]:
			default:
				results[n] = NotInspected(i, item, event.ReasonTimeout)
			}
		}
	}
	return merge(items, results, len(r.inspectors))
}

// start asks an inspector in a goroutine of its own, which ends when the inspector does: the answer has room to wait in.
func (r *Runner) start(ctx context.Context, i int, item *Item) chan Result {
	answer := make(chan Result, 1)
	select {
	case r.slots[i] <- struct{}{}:
	default:
		answer <- NotInspected(r.inspectors[i], item, event.ReasonUnavailable)
		return answer
	}
	go func() {
		defer func() { <-r.slots[i] }()
		answer <- ask(ctx, r.inspectors[i], item)
	}()
	return answer
}

// ask asks one inspector. What makes it panic is hostile input, and not inspected.
func ask(ctx context.Context, i Inspector, item *Item) (out Result) {
	defer func() {
		if recover() != nil {
			out = NotInspected(i, item, event.ReasonUnparseable)
		}
	}()
	if len(item.Text) > MaxText {
		return NotInspected(i, item, event.ReasonOversize)
	}
	return i.Inspect(ctx, item)
}

// NotInspected is the result of an inspector that could not look into an item.
func NotInspected(i Inspector, item *Item, reason string) Result {
	return Result{NotInspected: []event.NotInspected{{Inspector: i.Name(), Reason: reason, File: fileName(item), Version: i.Version()}}}
}

func fileName(item *Item) string {
	if item.File == nil {
		return ""
	}
	return item.File.Name
}

func merge(items []*Item, results []Result, inspectors int) Result {
	var out Result
	for n, r := range results {
		item := items[n/inspectors]
		name := fileName(item)
		for _, h := range r.Hits {
			if h.File == "" {
				h.File = name
			}
			out.Hits = append(out.Hits, h)
		}
		for _, m := range r.NotInspected {
			if m.File == "" {
				m.File = name
			}
			out.NotInspected = append(out.NotInspected, m)
		}
		if r.Type != "" {
			out.Type = r.Type
			if item.File != nil && item.File.Type == "" {
				item.File.Type = r.Type
			}
		}
	}
	return out
}
