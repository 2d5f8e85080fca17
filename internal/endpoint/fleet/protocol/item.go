package protocol

import (
	"encoding/binary"
	"fmt"

	"github.com/chaperone-im/chaperone/internal/event"
)

// ItemKind says what an item of the spool is.
type ItemKind byte

// The kinds of items.
const (
	EventItem     ItemKind = 'e' // an event in both halves, see EncodeEvent
	InventoryItem ItemKind = 'i' // Inventory
	ReportItem    ItemKind = 'r' // Report
	RequestItem   ItemKind = 'q' // Request
)

// Item is one thing that an agent has durably spooled and the server must have on record before the agent forgets it.
type Item struct {
	Kind ItemKind
	Body []byte
}

// MaxItem bounds the body of one item, in bytes.
const MaxItem = 192 << 10

// maxCount bounds the items of one frame.
const maxCount = 1024

// Items is the payload of an ItemsFrame: items of the spool from a number on, without a gap.
type Items struct {
	First uint64 // number of the first
	List  []Item
}

// Last returns the number of the last item.
func (i Items) Last() uint64 { return i.First + uint64(len(i.List)) - 1 }

// Append appends the encoding to b.
func (i Items) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, i.First)
	b = binary.AppendUvarint(b, uint64(len(i.List)))
	for _, item := range i.List {
		b = append(b, byte(item.Kind))
		b = appendBytes(b, item.Body)
	}
	return b
}

// Cost is how many bytes an item takes in a frame, at most.
func (i Item) Cost() int { return len(i.Body) + 1 + binary.MaxVarintLen32 }

// ParseItems decodes what Append wrote. Bodies are parts of b.
func ParseItems(b []byte) (Items, error) {
	d := decoder{b: b}
	out := Items{First: d.number()}
	n := d.number()
	if n == 0 || n > maxCount || out.First == 0 || out.First > 1<<62 {
		d.fail()
	}
	for range n {
		if d.bad {
			break
		}
		kind := ItemKind(d.one())
		body := d.bytes(MaxItem)
		switch kind {
		case EventItem, InventoryItem, ReportItem, RequestItem:
		default:
			d.fail()
		}
		out.List = append(out.List, Item{kind, body})
	}
	return out, d.done("items")
}

// EncodeEvent encodes both halves of an event in canonical bytes, as the record will hold them.
func EncodeEvent(e *event.Event) ([]byte, error) {
	h, content, err := e.Split(event.NewSalt())
	if err != nil {
		return nil, fmt.Errorf("encode an event: %w", event.Unfit(err))
	}
	header, err := event.Canonical(&h)
	if err != nil {
		return nil, fmt.Errorf("encode an event: %w", event.Unfit(err))
	}
	b := append(appendBytes(nil, header), content...)
	if len(b) > MaxItem {
		return nil, event.Unfit(fmt.Errorf("encode an event: %d bytes, at most %d", len(b), MaxItem))
	}
	return b, nil
}

// DecodeEvent decodes what EncodeEvent wrote.
func DecodeEvent(b []byte) (*event.Event, error) {
	d := decoder{b: b}
	header := d.bytes(64 << 10)
	if d.bad {
		return nil, fmt.Errorf("%w: event", ErrMalformed)
	}
	h, err := event.ParseHeader(header)
	if err != nil {
		return nil, fmt.Errorf("%w: event: %w", ErrMalformed, err)
	}
	e, err := event.Assemble(h, d.b)
	if err != nil {
		return nil, fmt.Errorf("%w: event: %w", ErrMalformed, err)
	}
	return e, nil
}

// AckNumber is the payload of an AckFrame.
func AckNumber(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// ParseAck decodes the payload of an AckFrame.
func ParseAck(b []byte) (uint64, error) {
	d := decoder{b: b}
	n := d.number()
	return n, d.done("acknowledgement")
}

func appendBytes(b, more []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(more))), more...)
}

// decoder takes values off the front of a payload; after a mistake it gives zero values.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) one() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

// take takes n bytes.
func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

// bytes takes a length and that many bytes.
func (d *decoder) bytes(limit uint64) []byte {
	n := d.number()
	if n > limit {
		d.fail()
	}
	return d.take(n)
}

// done reports whether all was well and nothing is left.
func (d *decoder) done(what string) error {
	if d.bad || len(d.b) > 0 {
		return fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	return nil
}
