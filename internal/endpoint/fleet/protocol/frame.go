package protocol

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Kind says what a frame holds.
type Kind byte

// The kinds of frames. Agents send those with capital letters.
const (
	EnrolFrame    Kind = 'E' // Enrol
	HelloFrame    Kind = 'H' // Hello
	AppliedFrame  Kind = 'A' // Applied
	GetFrame      Kind = 'G' // Get: a piece of a part
	ItemsFrame    Kind = 'I' // Items
	RenewFrame    Kind = 'R' // PKCS #10 for a new certificate
	PingFrame     Kind = 'P' // empty
	EnrolledFrame Kind = 'e' // Enrolled
	WelcomeFrame  Kind = 'w' // Welcome
	BundleFrame   Kind = 'b' // Delivery
	DeltaFrame    Kind = 'd' // Delta: to those who say that they take it
	PieceFrame    Kind = 'p' // Piece
	AckFrame      Kind = 'a' // number up to which the spool is on record
	RenewedFrame  Kind = 'r' // the certificate, DER
	PongFrame     Kind = 'o' // empty
	OfferFrame    Kind = 'u' // the signed note of a release of this program: to those who say that they take it; all others refuse it
	RefusedFrame  Kind = 'x' // Refused
)

// Limits of payloads, in bytes. Small is what any frame may have before the server reserves memory for it.
const (
	Small      = 4 << 10
	MaxItems   = 256 << 10
	MaxInline  = 64 << 10 // parts larger than this are asked for in pieces
	MaxPiece   = 60 << 10
	maxBundle  = 128 << 10
	maxDelta   = 192 << 10
	maxEnrol   = 16 << 10
	headerSize = 5
)

// Limit returns the most bytes that a frame of the kind may have; a kind that is not known may have none.
func (k Kind) Limit() (int, bool) {
	switch k {
	case EnrolFrame, EnrolledFrame, HelloFrame:
		return maxEnrol, true
	case AppliedFrame, GetFrame, RenewFrame, WelcomeFrame, AckFrame, RefusedFrame, RenewedFrame, OfferFrame:
		return Small, true
	case PingFrame, PongFrame:
		return 0, true
	case ItemsFrame:
		return MaxItems, true
	case BundleFrame:
		return maxBundle, true
	case DeltaFrame:
		return maxDelta, true
	case PieceFrame:
		return MaxPiece + 64, true
	}
	return 0, false
}

// Frame returns a frame in its bytes, so that one write sends it, and the same bytes can go to many.
func Frame(k Kind, payload []byte) []byte {
	b := make([]byte, headerSize, headerSize+len(payload))
	b[0] = byte(k)
	binary.BigEndian.PutUint32(b[1:], uint32(len(payload)))
	return append(b, payload...)
}

// Header reads the beginning of a frame: what comes, and how long it is. It refuses what is longer than its kind may be.
func Header(r io.Reader) (Kind, int, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, 0, err
	}
	k, n := Kind(h[0]), binary.BigEndian.Uint32(h[1:])
	limit, known := k.Limit()
	if !known {
		return 0, 0, fmt.Errorf("%w: a frame of the unknown kind %q", ErrMalformed, byte(k))
	}
	if uint64(n) > uint64(limit) {
		return 0, 0, fmt.Errorf("%w: %d bytes in a frame of kind %q, which has at most %d", ErrMalformed, n, byte(k), limit)
	}
	return k, int(n), nil
}

// Read reads one frame whole.
func Read(r io.Reader) (Kind, []byte, error) {
	k, n, err := Header(r)
	if err != nil {
		return 0, nil, err
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	return k, payload, nil
}

// Send writes one frame with a JSON payload.
func Send(w io.Writer, k Kind, v any) error {
	payload, err := Encode(v)
	if err != nil {
		return err
	}
	if limit, _ := k.Limit(); len(payload) > limit {
		return fmt.Errorf("a frame of kind %q with %d bytes, which has at most %d", byte(k), len(payload), limit)
	}
	_, err = w.Write(Frame(k, payload))
	return err
}
