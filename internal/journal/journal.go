// Package journal is the durable record that delivery waits for: append-only streams of frames, each one group commit.
//
// A frame holds the canonical headers of its records, the Merkle root over them, the hash of its stream's previous frame, and, in a section
// of its own that can be dropped without touching any hash, the sealed contents. Acknowledged means fsynced. Everything else (ledger,
// projections, objects' index) is derived from it.
package journal

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Local is the stream of a gateway, sensor or console that runs alone.
const Local = "local"

// Errors of a Journal.
var (
	ErrLocked = errors.New("journal: another process writes here")
	ErrFull   = errors.New("journal: no space left")
	ErrClosed = errors.New("journal: closed")
)

// Record is one entry of a frame: the canonical bytes of a header and the sealed bytes of its content (nil when disposed of).
type Record struct {
	Header []byte
	Sealed []byte
}

// Frame is one group commit.
type Frame struct {
	Head    Head
	HeadRaw []byte // canonical bytes of Head: what the ledger's leaf and the next frame's Prev are made of
	Records []Record
}

// Head is the part of a frame that is hashed. Its canonical JSON is the ledger's leaf.
type Head struct {
	Version  int       `json:"v"`
	Stream   string    `json:"stream"`
	Sequence uint64    `json:"seq"`  // from 1, without gaps
	Prev     string    `json:"prev"` // hex SHA-256 of the previous frame's head; "" for the first
	Time     time.Time `json:"time"`
	Count    int       `json:"count"` // of records
	Root     string    `json:"root"`  // hex RFC 6962 Merkle root over the records' headers
}

// Position is a place in a stream: after Record records of the frame with that sequence.
type Position struct {
	Stream   string
	Sequence uint64
	Record   int
}

// Journal appends records and reads them back. Append returns when the records are durable, all of them or none.
type Journal interface {
	Append(ctx context.Context, records ...Record) (Position, error)
	Reader
	Close() error
}

// Reader reads frames in order.
type Reader interface {
	// Frames yields the frames of a stream from the one with sequence from on, up to the last durable one.
	Frames(ctx context.Context, stream string, from uint64) iter.Seq2[Frame, error]
	// Streams lists the streams and the sequence of the last durable frame of each.
	Streams() (map[string]uint64, error)
	// Wait returns when a frame after the given one is durable, or the context ends.
	Wait(ctx context.Context, stream string, after uint64) error
}
