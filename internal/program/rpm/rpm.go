// Package rpm reads the header of an RPM package.
//
// A package is a lead of 96 bytes, a signature header padded to 8 bytes, and the header: an index of tags into a store of values.
package rpm

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/chaperone-im/chaperone/internal/program"
)

// Sizes and tags of the format (RPM package manual, "Package File Format").
const (
	leadSize    = 96
	introSize   = 16
	entrySize   = 16
	tagName     = 1000
	tagVersion  = 1001
	tagRelease  = 1002
	tagVendor   = 1011
	tagPackager = 1015
	maxEntries  = 1 << 16
)

var (
	errCutOff = errors.New("rpm: cut off")
	errMagic  = errors.New("rpm: no header where one should be")
)

// Parse reads the header of an RPM package.
func Parse(data []byte) (program.Identity, error) {
	id := program.Identity{Format: program.RPM, Kind: program.Package}
	if len(data) < leadSize {
		return id, errCutOff
	}
	_, size, err := header(data[leadSize:])
	if err != nil {
		return id, err
	}
	next := leadSize + (size+7)/8*8
	if next > len(data) {
		return id, errCutOff
	}
	tags, _, err := header(data[next:])
	if err != nil {
		return id, err
	}
	id.Package = tags[tagName]
	id.Version = tags[tagVersion]
	if tags[tagRelease] != "" {
		id.Version += "-" + tags[tagRelease]
	}
	id.Maintains = tags[tagVendor]
	if id.Maintains == "" {
		id.Maintains = tags[tagPackager]
	}
	return id, nil
}

// header reads the tags that are of interest and tells the header's size.
func header(b []byte) (map[uint32]string, int, error) {
	if len(b) < introSize {
		return nil, 0, errCutOff
	}
	if !bytes.HasPrefix(b, []byte("\x8e\xad\xe8")) {
		return nil, 0, errMagic
	}
	entries, size := uint64(binary.BigEndian.Uint32(b[8:])), uint64(binary.BigEndian.Uint32(b[12:]))
	total := introSize + entries*entrySize + size
	if entries > maxEntries || total > uint64(len(b)) {
		return nil, 0, errCutOff
	}
	store := b[introSize+entries*entrySize : total]
	tags := map[uint32]string{}
	for i := range int(entries) {
		e := b[introSize+i*entrySize:]
		tag, at := binary.BigEndian.Uint32(e), uint64(binary.BigEndian.Uint32(e[8:]))
		switch tag {
		case tagName, tagVersion, tagRelease, tagVendor, tagPackager:
			if at < uint64(len(store)) {
				text, _, _ := bytes.Cut(store[at:], []byte{0})
				tags[tag] = program.Text(string(text[:min(len(text), 4096)]))
			}
		}
	}
	return tags, int(total), nil
}
