// Package bundle reads the Info.plist of a macOS bundle.
package bundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"howett.net/plist"

	"github.com/chaperone-im/chaperone/internal/program"
)

// maxPlist bounds a property list.
const maxPlist = 4 << 20

// Bounds of what is in one: the library calls itself for each level, and of a binary one it goes through all levels above at each.
const (
	maxElements   = 100_000
	maxContainers = 20_000
)

var errMany = errors.New("bundle: more in it than is looked at")

// ErrNotBundle says that a property list is not the Info.plist of a bundle.
var ErrNotBundle = errors.New("bundle: no bundle identifier")

// Parse reads an Info.plist, in XML or binary.
func Parse(data []byte) (id program.Identity, err error) {
	id = program.Identity{Format: program.Bundle, Kind: program.Client}
	if len(data) > maxPlist {
		return id, ErrNotBundle
	}
	if elements(data) > maxElements || containers(data) > maxContainers {
		return id, errMany
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("bundle: %v", p)
		}
	}()
	var info struct {
		Identifier string `plist:"CFBundleIdentifier"`
		Name       string `plist:"CFBundleName"`
		Version    string `plist:"CFBundleShortVersionString"`
		Executable string `plist:"CFBundleExecutable"`
		Package    string `plist:"CFBundlePackageType"`
	}
	if _, err := plist.Unmarshal(data, &info); err != nil {
		return id, fmt.Errorf("bundle: %w", err)
	}
	if info.Identifier == "" {
		return id, ErrNotBundle
	}
	id.Bundle = program.Text(info.Identifier)
	id.Product = program.Text(info.Name)
	id.Version = program.Text(info.Version)
	id.Binary = program.Text(info.Executable)
	if info.Package != "" && info.Package != "APPL" {
		id.Kind = program.Library
	}
	return id, nil
}

// elements counts what may be the begin of an element of XML: no more are open at one time.
func elements(data []byte) int {
	return bytes.Count(data, []byte("<")) - bytes.Count(data, []byte("</"))
}

// containers counts the arrays, sets and dictionaries of a binary property list. Behind its objects are their offsets, and behind those 32 bytes:
// six unused, the sizes of an offset and of a reference, the number of objects, the first of them, and where the offsets are.
func containers(data []byte) int {
	const trailer = 32
	if !bytes.HasPrefix(data, []byte("bplist")) || len(data) < trailer {
		return 0
	}
	t := data[len(data)-trailer:]
	size, count, at := uint64(t[6]), binary.BigEndian.Uint64(t[8:]), binary.BigEndian.Uint64(t[24:])
	n := 0
	for ; count > 0 && size > 0 && size <= 8 && at <= uint64(len(data)) && size <= uint64(len(data))-at; count-- {
		var offset uint64
		for _, b := range data[at : at+size] {
			offset = offset<<8 | uint64(b)
		}
		if offset < uint64(len(data)) && data[offset] >= 0xa0 && data[offset] < 0xe0 {
			n++
		}
		at += size
	}
	return n
}
