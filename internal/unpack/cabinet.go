package unpack

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/unpack/lzx"
)

// Cabinet files, by Microsoft's "Cabinet File Format" (MS-CAB). Folders are compressed as a whole; those in MSZIP, LZX or stored are read.
const (
	cabPrevious, cabNext, cabReserve = 1, 2, 4 // flags

	cabFolder   = 8
	cabFile     = 16
	cabData     = 8
	cabBlockMax = 32 << 10

	cabStored, cabMSZIP, cabLZX = 0, 1, 3
	cabMethod                   = 0xf  // of the method; above it is the size of the window
	cabWindow                   = 0x1f // from bit 8
	maxCabName                  = 256
)

var errCabinet = errors.New("cabinet: cut off")

// cabinet is the header of a cabinet file.
type cabinet struct {
	data         []byte
	files        int
	filesAt      int
	folders      []cabinetFolder
	blockReserve int
	reserve      int // bytes beside each folder
}

type cabinetFolder struct {
	at, blocks int
	method     uint16
}

// cabinet walks a cabinet file.
func (w *walker) cabinet(inside string, data []byte, depth int) error {
	c, err := openCabinet(data)
	if err != nil {
		return err
	}
	var from *cabinetStream
	last := -1
	for at, i := c.filesAt, 0; i < c.files; i++ {
		f, next, err := c.file(at)
		if err != nil {
			return err
		}
		at = next
		if f.folder != last {
			last, from = f.folder, nil
		}
		if f.folder >= len(c.folders) { // 0xFFFD to 0xFFFF: it lies partly in another cabinet
			w.visitor.Fail(w.join(inside, f.name), ReasonUnsupported, "cabinet of several volumes")
			if err := w.count(inside); err != nil {
				return err
			}
			continue
		}
		if from == nil {
			from = c.stream(f.folder)
		}
		if err := w.cabinetFile(inside, from, f, depth); err != nil {
			return err
		}
	}
	return nil
}

// cabinetFile looks at one file, which begins where the one before ended, or later.
func (w *walker) cabinetFile(inside string, from *cabinetStream, f cabinetFile, depth int) error {
	m := w.metered(from, inside, int64(len(from.cabinet.data)))
	if f.offset < from.read {
		return &bound{event.ReasonBomb, "members overlap"}
	}
	if _, err := io.CopyN(io.Discard, m, f.offset-from.read); err != nil {
		return fmt.Errorf("cabinet: %w", err)
	}
	return w.member(inside, f.name, &exactly{m, f.size}, depth)
}

func openCabinet(data []byte) (*cabinet, error) {
	if len(data) < cabinetHeader {
		return nil, errCabinet
	}
	c := &cabinet{data: data, filesAt: int(binary.LittleEndian.Uint32(data[16:])), files: int(binary.LittleEndian.Uint16(data[28:]))}
	folders, flags := int(binary.LittleEndian.Uint16(data[26:])), binary.LittleEndian.Uint16(data[30:])
	at := cabinetHeader
	if flags&cabReserve != 0 {
		if at+4 > len(data) {
			return nil, errCabinet
		}
		c.reserve, c.blockReserve = int(data[at+2]), int(data[at+3])
		at += 4 + int(binary.LittleEndian.Uint16(data[at:]))
	}
	for _, flag := range []uint16{cabPrevious, cabPrevious, cabNext, cabNext} { // two names each
		if flags&flag == 0 {
			continue
		}
		end := bytes.IndexByte(data[min(at, len(data)):], 0)
		if end < 0 {
			return nil, errCabinet
		}
		at += end + 1
	}
	for range folders {
		if at+cabFolder > len(data) {
			return nil, errCabinet
		}
		c.folders = append(c.folders, cabinetFolder{int(binary.LittleEndian.Uint32(data[at:])), int(binary.LittleEndian.Uint16(data[at+4:])),
			binary.LittleEndian.Uint16(data[at+6:])})
		at += cabFolder + c.reserve
	}
	return c, nil
}

type cabinetFile struct {
	name         string
	folder       int
	offset, size int64
}

// file reads the entry at a place, and tells where the next one is.
func (c *cabinet) file(at int) (f cabinetFile, next int, err error) {
	if at < 0 || at+cabFile > len(c.data) {
		return f, 0, errCabinet
	}
	e := c.data[at:]
	rest := e[cabFile:min(len(e), cabFile+maxCabName+1)]
	end := bytes.IndexByte(rest, 0)
	if end < 0 {
		return f, 0, errors.New("cabinet: name without end")
	}
	f = cabinetFile{string(rest[:end]), int(binary.LittleEndian.Uint16(e[8:])), int64(binary.LittleEndian.Uint32(e[4:])), int64(binary.LittleEndian.Uint32(e))}
	return f, at + cabFile + end + 1, nil
}

func (c *cabinet) stream(folder int) *cabinetStream {
	return &cabinetStream{cabinet: c, cabinetFolder: c.folders[folder]}
}

// cabinetStream reads what a folder holds, block by block.
type cabinetStream struct {
	*cabinet
	cabinetFolder
	block    []byte // not yet read
	window   []byte // the block before, which MSZIP refers to
	inflater io.ReadCloser
	lzx      *lzx.Decoder
	read     int64
}

// Read reads on.
func (s *cabinetStream) Read(p []byte) (int, error) {
	for len(s.block) == 0 {
		if s.blocks == 0 {
			return 0, io.EOF
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.block)
	s.block = s.block[n:]
	s.read += int64(n)
	return n, nil
}

// next unpacks the next block.
func (s *cabinetStream) next() error {
	begin := s.at + cabData + s.blockReserve
	if s.at < 0 || begin > len(s.data) {
		return errCabinet
	}
	packed, plain := int(binary.LittleEndian.Uint16(s.data[s.at+4:])), int(binary.LittleEndian.Uint16(s.data[s.at+6:]))
	if begin+packed > len(s.data) || plain > cabBlockMax {
		return errCabinet
	}
	body := s.data[begin : begin+packed]
	s.at, s.blocks = begin+packed, s.blocks-1
	var err error
	switch method := s.method & cabMethod; method {
	case cabStored:
		s.block = body
	case cabMSZIP:
		s.block, err = s.inflate(body, plain)
	case cabLZX:
		s.block, err = s.expand(body, plain)
	default:
		return &bound{ReasonUnsupported, fmt.Sprintf("cabinet compressed by method %d", method)}
	}
	return err
}

// inflate unpacks a block in MSZIP.
func (s *cabinetStream) inflate(body []byte, plain int) ([]byte, error) {
	if !bytes.HasPrefix(body, []byte("CK")) {
		return nil, errors.New("cabinet: no MSZIP block where one should be")
	}
	if s.inflater == nil {
		s.inflater = flate.NewReader(nil)
	}
	if err := s.inflater.(flate.Resetter).Reset(bytes.NewReader(body[2:]), s.window); err != nil {
		return nil, fmt.Errorf("cabinet: %w", err)
	}
	out := make([]byte, plain)
	if _, err := io.ReadFull(s.inflater, out); err != nil {
		return nil, fmt.Errorf("cabinet: %w", err)
	}
	s.window = out
	return out, nil
}

// expand unpacks a block in LZX.
func (s *cabinetStream) expand(body []byte, plain int) ([]byte, error) {
	if s.lzx == nil {
		d, err := lzx.New(int(s.method>>8) & cabWindow)
		if err != nil {
			return nil, fmt.Errorf("cabinet: %w", err)
		}
		s.lzx = d
	}
	out, err := s.lzx.Frame(body, plain)
	if err != nil {
		return nil, fmt.Errorf("cabinet: %w", err)
	}
	return out, nil
}
