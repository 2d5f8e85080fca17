package flow_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

type nothing struct{}

func (nothing) Opened(*flow.Flow)                 {}
func (nothing) Learned(*flow.Flow, []decode.Fact) {}
func (nothing) Settled(*flow.Flow)                {}
func (nothing) Closed(*flow.Flow, bool)           {}

// TestUnknownLinkTypeIsSaid holds that a capture from a kind of link that is not read is an error, and not a capture without flows.
func TestUnknownLinkTypeIsSaid(t *testing.T) {
	capture := func(link uint32, packets int) []byte {
		b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
		b = binary.LittleEndian.AppendUint16(b, 2)
		b = binary.LittleEndian.AppendUint16(b, 4)
		for _, v := range []uint32{0, 0, 65535, link} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		for range packets {
			for _, v := range []uint32{1_700_000_000, 0, 4, 4, 0} {
				b = binary.LittleEndian.AppendUint32(b, v)
			}
		}
		return b
	}
	for _, tt := range []struct {
		name    string
		link    uint32
		packets int
		want    error
	}{{"unknown", 9999, 2, flow.ErrLinkType}, {"unknown and empty", 9999, 0, nil}, {"Ethernet", 1, 2, nil}} {
		_, err := flow.ReadCapture(context.Background(), bytes.NewReader(capture(tt.link, tt.packets)), flow.NewTracker(nothing{}, flow.Limits{}))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}
