package unpack

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/chaperone-im/chaperone/internal/program"
)

const (
	arHeader   = 60
	cpioHeader = 110
	cpioOld    = 76 // of the old character format
	maxControl = 1 << 20
	rpmLead    = 96
)

// ar walks a Unix archive. The two tar files of a Debian package are walked as part of the same level.
func (w *walker) ar(inside string, format program.Format, data []byte, depth int) error {
	return eachAR(data, func(name string, body []byte) error {
		if format != program.Deb {
			return w.member(inside, name, bytes.NewReader(body), depth)
		}
		if !strings.HasPrefix(name, "data.tar") {
			return nil
		}
		inner := program.Sniff(body[:min(len(body), program.HeadSize)])
		if inner == program.Tar {
			return w.tar(inside, bytes.NewReader(body), depth)
		}
		return w.compressed(inside, inner, body, depth)
	})
}

// eachAR calls f for each member.
func eachAR(data []byte, f func(name string, body []byte) error) error {
	const magic = "!<arch>\n"
	if !bytes.HasPrefix(data, []byte(magic)) {
		return errors.New("ar: no magic")
	}
	for at := len(magic); at < len(data); {
		if at+arHeader > len(data) {
			return errCut
		}
		head := data[at : at+arHeader]
		size, err := strconv.ParseInt(strings.TrimSpace(string(head[48:58])), 10, 63)
		at += arHeader
		if err != nil || string(head[58:]) != "`\n" || size < 0 || size > int64(len(data)-at) {
			return errors.New("ar: broken member")
		}
		name := strings.TrimSuffix(strings.TrimSpace(string(head[:16])), "/")
		if err := f(name, data[at:at+int(size)]); err != nil {
			return err
		}
		at += int(size+1) &^ 1
	}
	return nil
}

// debControl returns the control file of a Debian package, nil when there is none to be read.
func debControl(data []byte) []byte {
	var control []byte
	_ = eachAR(data, func(name string, body []byte) error { // what is broken is reported when the package is taken apart
		if !strings.HasPrefix(name, "control.tar") {
			return nil
		}
		control = controlOf(body)
		return io.EOF
	})
	return control
}

func controlOf(body []byte) []byte {
	var r io.Reader = bytes.NewReader(body)
	if format := program.Sniff(body[:min(len(body), program.HeadSize)]); format != program.Tar {
		z, _, err := decompressor(format, r)
		if err != nil {
			return nil
		}
		defer z.Close()
		r = z
	}
	t := tar.NewReader(io.LimitReader(r, 16*maxControl))
	for {
		h, err := t.Next()
		if err != nil {
			return nil
		}
		if path.Clean(h.Name) == "control" {
			b, err := io.ReadAll(io.LimitReader(t, maxControl))
			if err != nil {
				return nil
			}
			return b
		}
	}
}

// rpm walks the payload of an RPM package, a compressed cpio archive behind the two headers.
func (w *walker) rpm(inside string, data []byte, depth int) error {
	payload, err := rpmPayload(data)
	if err != nil {
		return err
	}
	format := program.Sniff(payload[:min(len(payload), program.HeadSize)])
	r, _, err := decompressor(format, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	defer r.Close()
	return w.cpio(inside, w.metered(r, inside, int64(len(payload))), depth)
}

// rpmPayload skips lead, signature and header.
func rpmPayload(data []byte) ([]byte, error) {
	at := uint64(rpmLead)
	for range 2 {
		at = (at + 7) &^ 7
		if at+16 > uint64(len(data)) {
			return nil, io.ErrUnexpectedEOF
		}
		at += 16 + 16*uint64(binary.BigEndian.Uint32(data[at+8:])) + uint64(binary.BigEndian.Uint32(data[at+12:]))
	}
	if at > uint64(len(data)) {
		return nil, io.ErrUnexpectedEOF
	}
	return data[at:], nil
}

// cpioEntry is the header of a member.
type cpioEntry struct {
	name    string
	mode    uint64
	size    uint64
	padding uint64 // behind the content
}

// cpio walks an archive in the "new ASCII" format, or in the "old character" format of macOS packages.
func (w *walker) cpio(inside string, r io.Reader, depth int) error {
	for {
		e, err := readCPIO(r)
		if err != nil {
			return err
		}
		if e.name == "TRAILER!!!" {
			return nil
		}
		body := &exactly{r, int64(e.size)}
		if e.mode&0o170000 == 0o100000 {
			if err := w.member(inside, e.name, body, depth); err != nil {
				return err
			}
		}
		if _, err := io.CopyN(io.Discard, r, body.left+int64(e.padding)); err != nil {
			return fmt.Errorf("cpio: %w", err)
		}
	}
}

// readCPIO reads a header and the name behind it.
func readCPIO(r io.Reader) (e cpioEntry, err error) {
	head := make([]byte, cpioHeader)
	if _, err := io.ReadFull(r, head[:cpioOld]); err != nil {
		return e, fmt.Errorf("cpio: %w", err)
	}
	var nameSize uint64
	switch {
	case string(head[:6]) == "070707":
		if e.mode, nameSize, e.size, err = numbers(head, 8, [3][2]int{{18, 24}, {59, 65}, {65, 76}}); err != nil {
			return e, err
		}
	case string(head[:5]) == "07070":
		if _, err := io.ReadFull(r, head[cpioOld:]); err != nil {
			return e, fmt.Errorf("cpio: %w", err)
		}
		if e.mode, nameSize, e.size, err = numbers(head, 16, [3][2]int{{14, 22}, {94, 102}, {54, 62}}); err != nil {
			return e, err
		}
		e.padding = (4 - e.size%4) % 4
	default:
		return e, errors.New("cpio: no header where one should be")
	}
	name := make([]byte, nameSize)
	if string(head[:6]) != "070707" { // the newer one fills up to 4
		name = make([]byte, nameSize+(4-(cpioHeader+nameSize)%4)%4)
	}
	if _, err := io.ReadFull(r, name); err != nil {
		return e, fmt.Errorf("cpio: %w", err)
	}
	e.name = string(name[:nameSize-1])
	return e, nil
}

// numbers reads mode, size of the name and size of the content from their places in a header.
func numbers(head []byte, base int, at [3][2]int) (mode, name, size uint64, err error) {
	var out [3]uint64
	for i, p := range at {
		if out[i], err = strconv.ParseUint(string(head[p[0]:p[1]]), base, 40); err != nil {
			return 0, 0, 0, errors.New("cpio: broken header")
		}
	}
	if out[1] == 0 || out[1] > 4096 {
		return 0, 0, 0, errors.New("cpio: broken header")
	}
	return out[0], out[1], out[2], nil
}
