package flow_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// ends counts the packets of flows that ended.
type ends struct{ packets []int64 }

func (*ends) Opened(*flow.Flow)                 {}
func (*ends) Learned(*flow.Flow, []decode.Fact) {}
func (*ends) Settled(*flow.Flow)                {}
func (e *ends) Closed(f *flow.Flow, _ bool)     { e.packets = append(e.packets, f.Packets) }

func oneDatagram(t *testing.T, at time.Time) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := flowtest.NewWriter(&b, at)
	w.UDP(netip.MustParseAddrPort("10.0.0.7:1"), netip.MustParseAddrPort("192.0.2.1:2"), []byte("part"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestReadPart: a flow goes on from one capture to the next, and ends with Flush.
func TestReadPart(t *testing.T) {
	at := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	e := &ends{}
	tracker := flow.NewTracker(e, flow.Limits{})
	for i := range 3 {
		if n, err := flow.ReadPart(t.Context(), oneDatagram(t, at.Add(time.Duration(i)*time.Minute)), tracker); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if len(e.packets) != 0 {
		t.Errorf("%d flows ended with their capture", len(e.packets))
	}
	tracker.Flush()
	if len(e.packets) != 1 || e.packets[0] != 3 {
		t.Errorf("flows of %v packets", e.packets)
	}
}

// TestFirstPacket: the time of the first packet, of an empty capture none, and of no capture an error.
func TestFirstPacket(t *testing.T) {
	at := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	if got, err := flow.FirstPacket(oneDatagram(t, at)); err != nil || !got.Equal(at) {
		t.Error(got, err)
	}
	var empty bytes.Buffer
	if err := flowtest.NewWriter(&empty, at).Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := flow.FirstPacket(&empty); err != nil || !got.IsZero() {
		t.Error(got, err)
	}
	if _, err := flow.FirstPacket(bytes.NewReader([]byte("no capture"))); !errors.Is(err, flow.ErrNotCapture) {
		t.Error(err)
	}
	whole := oneDatagram(t, at).Bytes()
	if _, err := flow.FirstPacket(io.LimitReader(bytes.NewReader(whole), int64(len(whole)-30))); err == nil {
		t.Error("half a packet has a time")
	}
}
