package journal

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Version is the version of the frame format.
const Version = 1

// Limits of a frame, in bytes and records. They bound what a reader allocates, whatever a file says.
const (
	MaxFrame   = 64 << 20
	MaxHead    = 4 << 10
	MaxHeader  = 64 << 10
	MaxSealed  = 16 << 20
	MaxRecords = 1 << 16
)

// Magic is what every frame begins with.
const Magic = "CJF1"

const (
	prefixSize = len(Magic) + 3*4
	crcSize    = 4
)

// ErrTorn says that a frame ends before it is whole: what a crash leaves at the end of a segment.
var ErrTorn = errors.New("journal: frame is torn")

// ErrCorrupt says that a frame is whole, and wrong.
var ErrCorrupt = errors.New("journal: frame is corrupt")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Hash returns the hex SHA-256 of a head's canonical bytes: what the next frame's Prev holds.
func Hash(headRaw []byte) string { return event.Digest(headRaw) }

// EncodeFrame appends the bytes of a frame to b. It fills HeadRaw.
func EncodeFrame(b []byte, f *Frame) ([]byte, error) {
	var err error
	if f.HeadRaw, err = event.Canonical(&f.Head); err != nil {
		return nil, err
	}
	var headers, sealed int
	for _, r := range f.Records {
		headers += uvarintSize(len(r.Header)) + len(r.Header)
		sealed += uvarintSize(len(r.Sealed)) + len(r.Sealed)
	}
	size := prefixSize + len(f.HeadRaw) + headers + sealed + crcSize
	if size > MaxFrame || len(f.HeadRaw) > MaxHead || len(f.Records) > MaxRecords {
		return nil, fmt.Errorf("journal: a frame of %d bytes and %d records is too large", size, len(f.Records))
	}
	start := len(b)
	b = slices.Grow(b, size)
	b = append(b, Magic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.HeadRaw)))
	b = binary.BigEndian.AppendUint32(b, uint32(headers))
	b = binary.BigEndian.AppendUint32(b, uint32(sealed))
	b = append(b, f.HeadRaw...)
	for _, r := range f.Records {
		b = append(binary.AppendUvarint(b, uint64(len(r.Header))), r.Header...)
	}
	for _, r := range f.Records {
		b = append(binary.AppendUvarint(b, uint64(len(r.Sealed))), r.Sealed...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli())), nil
}

func uvarintSize(n int) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], uint64(n))
}

// prefix is what a frame's first bytes say of its parts.
type prefix struct {
	raw                   [prefixSize]byte
	head, headers, sealed int64
}

// readPrefix gives io.EOF at a clean end, ErrTorn when the bytes end too early, ErrCorrupt otherwise.
func readPrefix(r io.Reader) (prefix, error) {
	var p prefix
	if n, err := io.ReadFull(r, p.raw[:]); err != nil {
		if n == 0 && errors.Is(err, io.EOF) {
			return p, io.EOF
		}
		return p, torn(err)
	}
	if string(p.raw[:len(Magic)]) != Magic {
		return p, fmt.Errorf("%w: it does not begin with %s", ErrCorrupt, Magic)
	}
	p.head = int64(binary.BigEndian.Uint32(p.raw[4:]))
	p.headers = int64(binary.BigEndian.Uint32(p.raw[8:]))
	p.sealed = int64(binary.BigEndian.Uint32(p.raw[12:]))
	if p.head > MaxHead || p.head+p.headers+p.sealed > MaxFrame-int64(prefixSize+crcSize) {
		return p, fmt.Errorf("%w: its lengths pass the limits", ErrCorrupt)
	}
	return p, nil
}

// rest is how many bytes of the frame come after its prefix.
func (p *prefix) rest() int64 { return p.head + p.headers + p.sealed + crcSize }

// SkipFrame passes over the next frame without looking into it and returns its size. Its errors are those of ReadFrame.
func SkipFrame(r *bufio.Reader) (int64, error) {
	p, err := readPrefix(r)
	if err != nil {
		return 0, err
	}
	if _, err := r.Discard(int(p.rest())); err != nil {
		return 0, torn(err)
	}
	return int64(prefixSize) + p.rest(), nil
}

// ReadFrame reads the next frame and checks it in itself: checksum, canonical head, count, Merkle root. It returns the frame's size in
// bytes; io.EOF at a clean end, ErrTorn when the bytes end too early, ErrCorrupt otherwise.
func ReadFrame(r *bufio.Reader) (Frame, int64, error) {
	p, err := readPrefix(r)
	if err != nil {
		return Frame{}, 0, err
	}
	body, err := readBounded(r, p.rest())
	if err != nil {
		return Frame{}, 0, torn(err)
	}
	sum := crc32.Update(crc32.Checksum(p.raw[:], castagnoli()), castagnoli(), body[:len(body)-crcSize])
	if sum != binary.BigEndian.Uint32(body[len(body)-crcSize:]) {
		return Frame{}, 0, fmt.Errorf("%w: its checksum does not fit", ErrCorrupt)
	}
	f, err := parseFrame(body[:p.head], body[p.head:p.head+p.headers], body[p.head+p.headers:len(body)-crcSize])
	return f, int64(prefixSize) + p.rest(), err
}

// readBounded reads n bytes without allocating more than what is there.
func readBounded(r io.Reader, n int64) ([]byte, error) {
	const step = 1 << 20
	if n <= step {
		b := make([]byte, n)
		_, err := io.ReadFull(r, b)
		return b, err
	}
	b := make([]byte, 0, step)
	for int64(len(b)) < n {
		chunk := min(step, n-int64(len(b)))
		b = append(b, make([]byte, chunk)...)
		if _, err := io.ReadFull(r, b[int64(len(b))-chunk:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTorn
	}
	return err
}

func parseFrame(head, headers, sealed []byte) (Frame, error) {
	f := Frame{HeadRaw: head}
	if err := event.ParseCanonical(head, &f.Head); err != nil {
		return f, fmt.Errorf("%w: head: %w", ErrCorrupt, err)
	}
	if f.Head.Version != Version || f.Head.Count > MaxRecords || f.Head.Count < 1 {
		return f, fmt.Errorf("%w: version %d with %d records", ErrCorrupt, f.Head.Version, f.Head.Count)
	}
	hs, err := split(headers, MaxHeader)
	if err != nil {
		return f, err
	}
	ss, err := split(sealed, MaxSealed)
	if err != nil {
		return f, err
	}
	if len(hs) != f.Head.Count || len(ss) != f.Head.Count {
		return f, fmt.Errorf("%w: its head says %d records, it holds %d and %d", ErrCorrupt, f.Head.Count, len(hs), len(ss))
	}
	f.Records = make([]Record, len(hs))
	for i := range hs {
		f.Records[i] = Record{hs[i], ss[i]}
	}
	if Root(hs) != f.Head.Root {
		return f, fmt.Errorf("%w: the Merkle root does not fit its records", ErrCorrupt)
	}
	return f, nil
}

func split(b []byte, limit uint64) ([][]byte, error) {
	var out [][]byte
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		if size <= 0 || size > 1 && b[size-1] == 0 || n > limit || n > uint64(len(b)-size) {
			return nil, fmt.Errorf("%w: a record's length does not fit", ErrCorrupt)
		}
		if len(out) == MaxRecords {
			return nil, fmt.Errorf("%w: too many records", ErrCorrupt)
		}
		var part []byte
		if n > 0 {
			part = b[size : size+int(n) : size+int(n)]
		}
		out = append(out, part)
		b = b[size+int(n):]
	}
	return out, nil
}

// Root returns the hex Merkle tree hash over headers (RFC 6962, section 2.1).
func Root(headers [][]byte) string {
	hash := treeHash(headers)
	return hex.EncodeToString(hash[:])
}

func treeHash(leaves [][]byte) [32]byte {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return LeafHash(leaves[0])
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	return nodeHash(treeHash(leaves[:k]), treeHash(leaves[k:]))
}

// LeafHash returns the hash of one leaf (RFC 6962, section 2.1).
func LeafHash(leaf []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(leaf)
	var out [32]byte
	h.Sum(out[:0])
	return out
}

func nodeHash(left, right [32]byte) [32]byte {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

// Path returns the audit path of the record with that index within its frame (RFC 6962, section 2.1.1), nearest sibling first.
func Path(headers [][]byte, index int) [][32]byte {
	if len(headers) <= 1 {
		return nil
	}
	k := 1
	for k*2 < len(headers) {
		k *= 2
	}
	if index < k {
		return append(Path(headers[:k], index), treeHash(headers[k:]))
	}
	return append(Path(headers[k:], index-k), treeHash(headers[:k]))
}
