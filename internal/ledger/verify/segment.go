package verify

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// Limits of the format: what is beyond is damage.
const (
	maxFrame  = 64 << 20
	maxHeader = 64 << 10
	maxSealed = 16 << 20
	maxHead   = 4 << 10
	maxParts  = 1 << 16
	prefixLen = 16
)

const magic = "CJF1"

// frame is one frame as read; its slices are valid until the next is read.
type frame struct {
	stream  string
	head    []byte
	headers [][]byte
	sealed  [][]byte
	size    int64
	crcGood bool

	parsed        head
	parsedHeaders []header
	hashes        []hash // of the headers
}

// errTorn says that the file ends within a frame.
var errTorn = errors.New("the file ends within a frame")

// readFrame reads the next frame, io.EOF at the end. size is how many bytes are left in the file, so that lengths that lie cost nothing.
func readFrame(r io.Reader, left int64, buf *[]byte) (*frame, int64, error) {
	if left == 0 {
		return nil, 0, io.EOF
	}
	if left < prefixLen {
		return nil, 0, errTorn
	}
	var prefix [prefixLen]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, 0, err
	}
	if string(prefix[:4]) != magic {
		return nil, 0, errors.New("no frame begins here")
	}
	headLen, headersLen, sealedLen := length(prefix[4:]), length(prefix[8:]), length(prefix[12:])
	total := prefixLen + headLen + headersLen + sealedLen + 4
	if headLen > maxHead || total > maxFrame {
		return nil, 0, errors.New("a frame longer than the format allows")
	}
	if total > left {
		return nil, 0, errTorn
	}
	if int64(cap(*buf)) < total {
		*buf = make([]byte, total)
	}
	b := (*buf)[:total]
	copy(b, prefix[:])
	if _, err := io.ReadFull(r, b[prefixLen:]); err != nil {
		return nil, 0, err
	}
	body := b[prefixLen : total-4]
	f := &frame{head: body[:headLen], size: total}
	f.crcGood = crc32.Checksum(b[:total-4], crc32.MakeTable(crc32.Castagnoli)) == binary.BigEndian.Uint32(b[total-4:])
	var err error
	if f.headers, err = split(body[headLen:headLen+headersLen], maxHeader); err != nil {
		return nil, total, fmt.Errorf("headers: %w", err)
	}
	if f.sealed, err = split(body[headLen+headersLen:], maxSealed); err != nil {
		return nil, total, fmt.Errorf("sealed contents: %w", err)
	}
	if len(f.headers) != len(f.sealed) {
		return nil, total, fmt.Errorf("%d headers and %d sealed contents", len(f.headers), len(f.sealed))
	}
	return f, total, nil
}

func length(b []byte) int64 { return int64(binary.BigEndian.Uint32(b)) }

// split cuts a section into its parts, each a shortest-form uvarint length and that many bytes.
func split(b []byte, limit uint64) ([][]byte, error) {
	var parts [][]byte
	for len(b) > 0 {
		n, used := binary.Uvarint(b)
		if used <= 0 || used > 1 && b[used-1] == 0 || len(parts) == maxParts || n > limit || n > uint64(len(b)-used) {
			return nil, errors.New("a length that does not fit")
		}
		parts = append(parts, b[used:used+int(n):used+int(n)])
		b = b[used+int(n):]
	}
	return parts, nil
}

// stream reads the segments of one stream in order.
type stream struct {
	name string
	dir  string
	segs []string // file names, in order
	at   int      // index of the open one
	file *os.File
	r    *bufio.Reader
	left int64
	seq  uint64 // of the last frame
	prev string // hash of the last frame's head
	dead bool   // nothing more can be read
}

var segmentName = regexp.MustCompile(`^[0-9]{20}\.seg$`)

// maxStreams bounds how many streams are followed at once.
const maxStreams = 1 << 16

func openStreams(dir string) (map[string]*stream, error) {
	folders, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	out := map[string]*stream{}
	for _, d := range folders {
		if !d.IsDir() {
			continue
		}
		s := &stream{name: d.Name(), dir: filepath.Join(dir, d.Name())}
		files, err := os.ReadDir(s.dir)
		if err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
		for _, f := range files {
			if segmentName.MatchString(f.Name()) && f.Type().IsRegular() {
				s.segs = append(s.segs, f.Name())
			}
		}
		slices.Sort(s.segs)
		if out[s.name] = s; len(out) > maxStreams {
			return nil, errors.New("verify: more streams than can be followed")
		}
	}
	return out, nil
}

// next returns the next frame whose parts can be told apart, or nil at the end; what stops it is in the result.
func (s *stream) next(buf *[]byte, r *Result) *frame {
	for !s.dead {
		if s.file == nil && !s.openNext(r) {
			return nil
		}
		f, used, err := readFrame(s.r, s.left, buf)
		s.left -= used
		switch {
		case err == nil:
			f.stream = s.name
			return f
		case errors.Is(err, io.EOF):
			s.closeFile()
		case errors.Is(err, errTorn) && s.at == len(s.segs):
			s.dead = true
			r.note("stream %s ends within a frame after frame %d: not yet written, or torn and cut off at the next start", s.name, s.seq)
		case used > 0:
			s.seq++
			r.add(Finding{Kind: FrameDamaged, Stream: s.name, Sequence: s.seq, Detail: err.Error()})
		default:
			s.dead = true
			r.add(Finding{Kind: FrameDamaged, Stream: s.name, Sequence: s.seq + 1, Detail: err.Error() + "; nothing after it in this stream can be read"})
		}
	}
	s.closeFile()
	return nil
}

// openNext opens the next segment, whose name is the sequence of its first frame.
func (s *stream) openNext(r *Result) bool {
	if s.at == len(s.segs) {
		s.dead = true
		return false
	}
	name := s.segs[s.at]
	s.at++
	first, _ := strconv.ParseUint(name[:20], 10, 64)
	f, err := openRegular(filepath.Join(s.dir, name))
	if err != nil {
		s.dead = true
		r.add(Finding{Kind: FrameDamaged, Stream: s.name, Sequence: s.seq + 1, Detail: err.Error()})
		return false
	}
	if st, err := f.Stat(); err == nil {
		s.left = st.Size()
	}
	if first != s.seq+1 && s.left > 0 {
		r.add(Finding{Kind: ChainBroken, Stream: s.name, Sequence: s.seq + 1, Detail: fmt.Sprintf("segment %s begins with another frame", name)})
	}
	s.file, s.r = f, bufio.NewReaderSize(f, 64<<10)
	return true
}

func (s *stream) closeFile() {
	if s.file != nil {
		s.file.Close()
		s.file, s.r = nil, nil
	}
}

func (s *stream) close() { s.closeFile() }

// check holds a frame against itself and against its predecessor.
func (s *stream) check(f *frame, r *Result) {
	at := Finding{Kind: FrameDamaged, Stream: s.name, Sequence: s.seq + 1}
	bad := func(kind, format string, args ...any) {
		at.Kind, at.Detail = kind, fmt.Sprintf(format, args...)
		r.add(at)
	}
	if !f.crcGood {
		bad(FrameDamaged, "the checksum does not match")
	}
	h, err := parseHead(f.head)
	if err != nil {
		bad(FrameDamaged, "head: %v", err)
	}
	if err == nil && h.Stream != s.name {
		bad(ChainBroken, "the head names stream %q", h.Stream)
	}
	if err == nil && h.Sequence != s.seq+1 {
		bad(ChainBroken, "sequence %d where %d must follow", h.Sequence, s.seq+1)
	}
	if err == nil && h.Prev != s.prev {
		bad(ChainBroken, "the frame does not follow the one before it: another previous hash")
	}
	s.prev = digest(f.head)
	if h.Sequence > s.seq {
		s.seq = h.Sequence
	} else {
		s.seq++
	}
	f.parsed = h
	f.parsed.Sequence = s.seq
	f.hashes = make([]hash, len(f.headers))
	f.parsedHeaders = make([]header, len(f.headers))
	for i, raw := range f.headers {
		f.hashes[i] = leafHash(raw)
		if f.parsedHeaders[i], err = parseHeader(raw); err != nil {
			at.Position = i + 1
			bad(FrameDamaged, "header: %v", err)
			at.Position = 0
		}
	}
	root := rootOf(f.hashes)
	if h.Count != len(f.headers) || h.Root != fmt.Sprintf("%x", root) {
		bad(FrameDamaged, "the records are not those that the head commits to: %d records, the head says %d", len(f.headers), h.Count)
	}
}
