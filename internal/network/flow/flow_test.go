package flow_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow"
)

// collector is a flow.Handler that keeps what it is told.
type collector struct {
	closed  []*flow.Flow
	evicted int
	settled int
}

func (c *collector) Opened(*flow.Flow)       {}
func (c *collector) Learned(*flow.Flow, int) {}
func (c *collector) Settled(*flow.Flow)      { c.settled++ }
func (c *collector) Closed(f *flow.Flow, evicted bool) {
	c.closed = append(c.closed, f)
	if evicted {
		c.evicted++
	}
}

func TestNotACapture(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("abc"), []byte("this is a text and no capture at all")} {
		if _, err := flow.ReadCapture(t.Context(), bytes.NewReader(b), flow.NewTracker(&collector{}, flow.Limits{})); !errors.Is(err, flow.ErrNotCapture) {
			t.Errorf("%q: %v", b, err)
		}
	}
}
