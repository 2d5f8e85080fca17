package inspection

import (
	"fmt"
	"slices"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// inTimeOrder returns the captures by the time of their first packets. What cannot be read comes last: reading it will say why.
func inTimeOrder(paths []string) []string {
	first := map[string]time.Time{}
	for _, path := range paths {
		if t, err := firstPacket(path); err == nil && !t.IsZero() {
			first[path] = t
		}
	}
	return slices.SortedStableFunc(slices.Values(paths), func(a, b string) int {
		ta, tb := first[a], first[b]
		switch {
		case ta.IsZero() != tb.IsZero() && ta.IsZero():
			return 1
		case ta.IsZero() != tb.IsZero():
			return -1
		}
		return ta.Compare(tb)
	})
}

func firstPacket(path string) (time.Time, error) {
	f, err := outside.Open(path)
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	t, err := flow.FirstPacket(f)
	if err != nil {
		return t, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// oneNetwork is a flow.Handler over several captures of one network: memory and flows go on from one to the next, and a flow belongs to the
// capture in which it began.
type oneNetwork struct {
	*classify.Classifier
	capture string // that is read
	began   map[*flow.Flow]string
	ending  string // capture of the flow that ends
}

func (n *oneNetwork) begin(name string) { n.capture = name }

// Opened implements flow.Handler.
func (n *oneNetwork) Opened(f *flow.Flow) {
	n.began[f] = n.capture
	n.Classifier.Opened(f)
}

// Closed implements flow.Handler.
func (n *oneNetwork) Closed(f *flow.Flow, evicted bool) {
	n.ending = n.began[f]
	delete(n.began, f)
	n.Classifier.Closed(f, evicted)
}
