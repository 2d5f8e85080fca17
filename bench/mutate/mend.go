package main

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/pe"
)

const (
	maxMendDepth = 3
	maxMendSize  = 4 << 20 // of what is unpacked to sum it
)

// mender writes right checksums into changed files, in place, so that what was changed is read and not only refused. It keeps what it unpacks with.
type mender struct{ inflater io.ReadCloser }

// unpack unpacks a stream of Deflate into sum, and returns how many bytes came out and how many of b were read.
func (m *mender) unpack(b []byte, sum io.Writer) (out, in int, err error) {
	r := bytes.NewReader(b)
	if m.inflater == nil {
		m.inflater = flate.NewReader(r)
	} else if err := m.inflater.(flate.Resetter).Reset(r, nil); err != nil {
		return 0, 0, err
	}
	n, err := io.Copy(sum, io.LimitReader(m.inflater, maxMendSize))
	return int(n), len(b) - r.Len(), err
}

func (m *mender) mend(b []byte, depth int) {
	if depth > maxMendDepth || len(b) < 16 {
		return
	}
	switch program.Sniff(b[:min(len(b), program.HeadSize)]) {
	case program.Zip:
		mendZip(b)
	case program.Gzip:
		m.gzip(b)
	case program.XZ:
		mendXZ(b)
	case program.SevenZip:
		mendSevenZip(b)
	case program.RAR:
		mendRAR(b)
	case program.Tar:
		mendTar(b)
	case program.XAR:
		m.xar(b)
	case program.Deb, program.AR:
		m.ar(b, depth)
	case program.RPM:
		m.rpm(b, depth)
	case program.PE:
		m.pe(b, depth)
	}
}

// mendZip takes the sums out of the directory: a sum of nought is not compared.
func mendZip(b []byte) {
	for at := range places(b, "PK\x01\x02") {
		if at+46 <= len(b) {
			b[at+8] &^= 8 // a sum behind the data is not looked for either
			clear(b[at+16 : at+20])
		}
	}
}

// places yields every place of magic.
func places(b []byte, magic string) func(func(int) bool) {
	return func(yield func(int) bool) {
		for from := 0; from < len(b); {
			at := bytes.Index(b[from:], []byte(magic))
			if at < 0 || !yield(from+at) {
				return
			}
			from += at + 1
		}
	}
}

// gzip sums what the stream unpacks to.
func (m *mender) gzip(b []byte) {
	at := 10
	flags := b[3]
	if flags&4 != 0 && at+2 <= len(b) {
		at += 2 + int(binary.LittleEndian.Uint16(b[at:]))
	}
	for _, text := range []byte{8, 16} { // name, comment
		if flags&text != 0 && at < len(b) {
			at += bytes.IndexByte(b[at:], 0) + 1
		}
	}
	if flags&2 != 0 {
		at += 2
	}
	if at >= len(b) {
		return
	}
	sum := crc32.NewIEEE()
	n, in, err := m.unpack(b[at:], sum)
	if end := at + in; err == nil && end+8 <= len(b) {
		binary.LittleEndian.PutUint32(b[end:], sum.Sum32())
		binary.LittleEndian.PutUint32(b[end+4:], uint32(n))
	}
}

// mendXZ sums the headers and the index; the seeds have no sums of their content.
func mendXZ(b []byte) {
	if len(b) < 32 {
		return
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[6:8]))
	if end := 12 + (int(b[12])+1)*4; b[12] != 0 && end <= len(b) {
		binary.LittleEndian.PutUint32(b[end-4:], crc32.ChecksumIEEE(b[12:end-4]))
	}
	f := b[len(b)-12:]
	if string(f[10:]) != "YZ" {
		return
	}
	size := (int(binary.LittleEndian.Uint32(f[4:])&0xffff) + 1) * 4
	if begin := len(b) - 12 - size; begin > 12 {
		binary.LittleEndian.PutUint32(b[begin+size-4:], crc32.ChecksumIEEE(b[begin:begin+size-4]))
	}
	binary.LittleEndian.PutUint32(f, crc32.ChecksumIEEE(f[4:10]))
}

func mendSevenZip(b []byte) {
	if len(b) < 32 {
		return
	}
	next, size := binary.LittleEndian.Uint64(b[12:]), binary.LittleEndian.Uint64(b[20:])
	if room := uint64(len(b) - 32); next <= room && size <= room-next {
		binary.LittleEndian.PutUint32(b[28:], crc32.ChecksumIEEE(b[32+next:32+next+size]))
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
}

// mendRAR sums the headers of both versions.
func mendRAR(b []byte) {
	if b[6] == 1 {
		mendRAR5(b)
		return
	}
	for at := 7; at+7 <= len(b); {
		size := int(binary.LittleEndian.Uint16(b[at+5:]))
		if size < 7 || at+size > len(b) {
			return
		}
		packed := 0
		if binary.LittleEndian.Uint16(b[at+3:])&0x8000 != 0 && size >= 11 {
			packed = int(binary.LittleEndian.Uint32(b[at+7:]))
		}
		if size >= 32 && packed <= len(b)-at-size && b[at+2] == 0x74 && b[at+25] == 0x30 { // a file that is stored
			binary.LittleEndian.PutUint32(b[at+16:], crc32.ChecksumIEEE(b[at+size:at+size+packed]))
		}
		binary.LittleEndian.PutUint16(b[at:], uint16(crc32.ChecksumIEEE(b[at+2:at+size])))
		at += size + packed
	}
}

func mendRAR5(b []byte) {
	for at := 8; at+7 < len(b); {
		size, n := binary.Uvarint(b[at+4 : min(at+7, len(b))])
		end := at + 4 + n + int(size)
		if n <= 0 || size > uint64(len(b)) || end > len(b) {
			return
		}
		binary.LittleEndian.PutUint32(b[at:], crc32.ChecksumIEEE(b[at+4:end]))
		header := b[at+4+n : end]
		_, k := binary.Uvarint(header)
		flags, f := binary.Uvarint(header[max(k, 0):])
		if k <= 0 || f <= 0 {
			return
		}
		header = header[k+f:]
		if flags&1 != 0 { // the size of what is extra stands before that of the data
			_, k := binary.Uvarint(header)
			header = header[max(k, 0):]
		}
		if flags&2 != 0 {
			data, _ := binary.Uvarint(header)
			end += int(min(data, uint64(len(b))))
		}
		at = end
	}
}

// mendTar sums every header that there is.
func mendTar(b []byte) {
	for at := 0; at+512 <= len(b); at += 512 {
		h := b[at : at+512]
		if string(h[257:262]) != "ustar" {
			continue
		}
		copy(h[148:156], "        ")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
}

// xar sums the table of contents.
func (m *mender) xar(b []byte) {
	if len(b) < 34 {
		return
	}
	begin, packed := uint64(binary.BigEndian.Uint16(b[4:])), binary.BigEndian.Uint64(b[8:])
	if begin > uint64(len(b)) || packed > uint64(len(b))-begin || packed < 6 {
		return
	}
	toc := b[begin : begin+packed]
	sum := adler32.New()
	_, in, err := m.unpack(toc[2:], sum)
	if end := 2 + in; err == nil && end+4 <= len(toc) {
		binary.BigEndian.PutUint32(toc[end:], sum.Sum32())
	}
}

func (m *mender) ar(b []byte, depth int) {
	for at := 8; at+60 <= len(b); {
		size, err := strconv.Atoi(strings.TrimSpace(string(b[at+48 : at+58])))
		at += 60
		if err != nil || size < 0 || size > len(b)-at {
			return
		}
		m.mend(b[at:at+size], depth+1)
		at += size + size%2
	}
}

// rpm mends the payload.
func (m *mender) rpm(b []byte, depth int) {
	for _, magic := range []string{"\x1f\x8b\x08", "\xfd7zXZ\x00"} {
		if at := bytes.Index(b, []byte(magic)); at > 0 {
			m.mend(b[at:], depth+1)
		}
	}
}

// pe mends the archive behind a program.
func (m *mender) pe(b []byte, depth int) {
	if end := pe.Lay(b).End; end < len(b) {
		m.mend(b[end:], depth+1)
	}
}
