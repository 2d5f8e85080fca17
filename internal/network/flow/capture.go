package flow

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// ErrNotCapture says that bytes are neither pcap nor pcapng.
var ErrNotCapture = errors.New("neither pcap nor pcapng")

// ErrLinkType says that all packets of a capture come from a kind of link that is not read.
var ErrLinkType = errors.New("link type is not known")

// ErrCut says that a capture ends in the middle of a packet; all before it was read.
var ErrCut = errors.New("capture ends in the middle of a packet")

// ErrDamaged says that a capture goes on, for longer than any packet, with what no packet can be made of; all before it was read.
var ErrDamaged = errors.New("capture is damaged")

// longestPacket is the longest that tcpdump and Wireshark write, with what stands around it.
const longestPacket = 262144 + 64

// counted counts the bytes that are read of a capture.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// source yields packets; the bytes are good until the next call, or for good.
type source interface {
	ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
}

// capture reads one pcap or pcapng stream.
type capture struct {
	src   source
	link  uint16
	mixed bool // every packet says its link type (pcapng)
	few   int  // packets that are still read each into memory of its own
}

// fewPackets of a pcapng capture are read before the reader may make room for the longest packet that the capture says to have: that is
// a quarter of a megabyte in most, and most captures are short.
const fewPackets = 64

// next reads the next packet.
func (c *capture) next() ([]byte, gopacket.CaptureInfo, error) {
	if c.few > 0 {
		c.few--
		return c.src.ReadPacketData()
	}
	return c.src.ZeroCopyReadPacketData()
}

// readSize is how much of a capture is read at once.
const readSize = 1 << 16

// firstBuffer is the room for a packet that is made at first.
const firstBuffer = 2048

func openCapture(br *bufio.Reader) (*capture, error) {
	magic, err := br.Peek(4)
	if err != nil {
		return nil, ErrNotCapture
	}
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		ng, err := pcapgo.NewNgReader(br, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, fmt.Errorf("read pcapng header: %w", err)
		}
		return &capture{src: ng, link: uint16(ng.LinkType()), mixed: true, few: fewPackets}, nil
	}
	old, err := pcapgo.NewReader(br)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotCapture, err)
	}
	old.SetSnaplen(firstBuffer) // headers that say less than their packets have are common: pcapgo has its own limit, and makes room as it needs it
	return &capture{src: old, link: uint16(old.LinkType())}, nil
}

// ReadCapture reads a pcap or pcapng capture from r and gives every packet of a flow to the tracker, which is flushed at the end. It
// returns how many packets the capture holds. A capture that is cut short gives ErrCut after all that could be read has been.
func ReadCapture(ctx context.Context, r io.Reader, t *Tracker) (int64, error) {
	defer t.Flush()
	return ReadPart(ctx, r, t)
}

// ReadPart is ReadCapture of one capture of several that were taken of one network: the flows go on in the next one. Flush ends them.
func ReadPart(ctx context.Context, r io.Reader, t *Tracker) (int64, error) {
	if t.reader == nil {
		t.reader = bufio.NewReaderSize(nil, readSize)
	}
	read := &counted{r: r}
	t.reader.Reset(read)
	defer t.reader.Reset(nil)
	c, err := openCapture(t.reader)
	if err != nil {
		return 0, err
	}
	var p Packet
	unknown, strange := int64(0), uint16(0)
	whole := int64(0) // bytes up to the end of the last whole packet
	for n := int64(0); ; n++ {
		if n&1023 == 0 && ctx.Err() != nil {
			return n, ctx.Err()
		}
		data, info, err := c.next()
		switch {
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			if n > 0 && unknown == n {
				return n, fmt.Errorf("%w: %d", ErrLinkType, strange)
			}
			return n, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return n, unfinished(read.n - whole)
		case err != nil:
			return n, fmt.Errorf("packet %d: %w", n+1, err)
		}
		whole = read.n - int64(t.reader.Buffered())
		link := c.link
		if c.mixed && len(info.AncillaryData) > 0 {
			if l, ok := info.AncillaryData[0].(layers.LinkType); ok {
				link = uint16(l)
			}
		}
		if !knownLink(link) {
			unknown, strange = unknown+1, link
		}
		p.Time, p.Length = possible(info.Timestamp), info.Length
		t.frame(link, data, &p)
	}
}

// unfinished is the error for a capture of which so many bytes follow its last whole packet.
func unfinished(rest int64) error {
	if rest > longestPacket {
		return fmt.Errorf("%w: %d bytes after its last whole packet could not be read", ErrDamaged, rest)
	}
	return fmt.Errorf("%w: %d bytes after its last whole one could not be read", ErrCut, rest)
}

// lastSecond is the last that 64 bits of nanoseconds hold: in 2262.
const lastSecond = math.MaxInt64 / int64(time.Second)

// possible returns t, or the beginning of 1970 when a capture's clock says a time that cannot be.
func possible(t time.Time) time.Time {
	if s := t.Unix(); s < 0 || s >= lastSecond {
		return time.Unix(0, 0)
	}
	return t
}
