package unpack

import (
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/program"
)

// Installer packages of macOS (xar): a header, a compressed table of contents in XML, and the files.
const (
	xarHeader = 28
	maxXarTOC = 32 << 20
	pbzxHead  = 12 // of the payload of some: magic and the size of a chunk
	pbzxChunk = 16
	maxChunk  = 64 << 20
)

type xarFile struct {
	Name string `xml:"name"`
	Data *struct {
		Offset   int64 `xml:"offset"`
		Length   int64 `xml:"length"` // in the archive
		Size     int64 `xml:"size"`
		Encoding struct {
			Style string `xml:"style,attr"`
		} `xml:"encoding"`
	} `xml:"data"`
	Files []xarFile `xml:"file"`
}

// xar walks a macOS installer package.
func (w *walker) xar(inside string, data []byte, depth int) error {
	if len(data) < xarHeader {
		return errCut
	}
	begin, packed := uint64(binary.BigEndian.Uint16(data[4:])), binary.BigEndian.Uint64(data[8:])
	if begin < xarHeader || begin > uint64(len(data)) || packed > uint64(len(data))-begin {
		return errCut
	}
	z, err := zlib.NewReader(bytes.NewReader(data[begin : begin+packed]))
	if err != nil {
		return fmt.Errorf("xar: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(w.metered(z, inside, int64(packed)), maxXarTOC))
	if err != nil {
		return err
	}
	var toc struct {
		Files []xarFile `xml:"toc>file"`
	}
	if err := xml.Unmarshal(text, &toc); err != nil {
		return fmt.Errorf("xar: %w", err)
	}
	return w.xarFolder(inside, "", toc.Files, data[begin+packed:], depth, 0)
}

func (w *walker) xarFolder(inside, path string, files []xarFile, heap []byte, depth, level int) error {
	if level > maxFolders {
		return &bound{event.ReasonTooDeep, "folders"}
	}
	for i := range files {
		f := &files[i]
		if err := w.xarFolder(inside, path+f.Name+"/", f.Files, heap, depth, level+1); err != nil {
			return err
		}
		if f.Data == nil {
			continue
		}
		r, err := f.open(heap)
		if err == nil {
			err = w.member(inside, path+f.Name, w.metered(r, inside, f.Data.Length), depth)
		}
		if err := w.memberError(w.join(inside, path+f.Name), err); err != nil {
			return err
		}
	}
	return nil
}

// open opens a file as it is encoded.
func (f *xarFile) open(heap []byte) (io.Reader, error) {
	d := f.Data
	if d.Offset < 0 || d.Length < 0 || d.Offset > int64(len(heap)) || d.Length > int64(len(heap))-d.Offset {
		return nil, errCut
	}
	b := bytes.NewReader(heap[d.Offset : d.Offset+d.Length])
	switch style := strings.TrimPrefix(d.Encoding.Style, "application/"); style {
	case "octet-stream", "":
		return b, nil
	case "x-gzip":
		return zlib.NewReader(b)
	case "x-bzip2":
		return bzip2.NewReader(b), nil
	default:
		return nil, &bound{ReasonUnsupported, "xar file encoded as " + style}
	}
}

// pbzx reads the payload of newer packages: chunks, each an xz stream or stored.
type pbzx struct {
	data []byte
	r    io.Reader
}

func newPbzx(data []byte) io.Reader { return &pbzx{data: data[min(len(data), pbzxHead):]} }

// Read reads on.
func (p *pbzx) Read(b []byte) (int, error) {
	for {
		if p.r == nil {
			if err := p.next(); err != nil {
				return 0, err
			}
		}
		n, err := p.r.Read(b)
		if errors.Is(err, io.EOF) {
			p.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (p *pbzx) next() error {
	if len(p.data) == 0 {
		return io.EOF
	}
	if len(p.data) < pbzxChunk {
		return errCut
	}
	size := binary.BigEndian.Uint64(p.data[8:])
	if size > maxChunk || size > uint64(len(p.data)-pbzxChunk) {
		return errCut
	}
	body := p.data[pbzxChunk : pbzxChunk+size]
	p.data = p.data[pbzxChunk+size:]
	p.r = bytes.NewReader(body)
	if bytes.HasPrefix(body, []byte("\xfd7zXZ\x00")) {
		r, _, err := decompressor(program.XZ, p.r)
		p.r = r
		return err
	}
	return nil
}
