// Package msi reads the Property table of a Windows Installer database: what it installs, by whom, and its UpgradeCode.
//
// An MSI is a compound file whose stream names are packed two characters to a code point, and whose tables hold indices into a string
// pool. Only the two streams of the pool, the Property table and the
// signature are read.
package msi

import (
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/authenticode"
)

// Bounds of what is read.
const (
	maxStream  = 16 << 20
	maxStreams = 4096
	maxStrings = 1 << 20
	maxRows    = 4096
)

// signatureStream is where the Authenticode signature is. (Its name begins with a control character, which the library cuts off.)
const signatureStream = "DigitalSignature"

// ErrNotMSI says that a compound file is no installer database.
var ErrNotMSI = errors.New("msi: no Property table")

// ErrTooMany says that a compound file has more streams than are looked at.
var ErrTooMany = fmt.Errorf("more than %d streams", maxStreams)

// Parse reads an MSI file.
func Parse(data []byte) (id program.Identity, err error) {
	id = program.Identity{Format: program.MSI, Kind: program.Installer}
	defer func() {
		if p := recover(); p != nil { // the compound file library trusts sector numbers in places
			err = fmt.Errorf("msi: %v", p)
		}
	}()
	streams, err := readStreams(data)
	if err != nil {
		return id, err
	}
	table, ok := streams["!Property"]
	if !ok {
		return id, ErrNotMSI
	}
	pool, wide, err := stringPool(streams["!_StringPool"], streams["!_StringData"])
	if err != nil {
		return id, err
	}
	properties := properties(table, pool, wide)
	id.Product = program.Text(properties["ProductName"])
	id.Company = program.Text(properties["Manufacturer"])
	id.Version = program.Text(properties["ProductVersion"])
	id.Upgrade = program.Text(properties["UpgradeCode"])
	if signature := streams[signatureStream]; signature != nil {
		signer, err := authenticode.Parse(signature, func(h crypto.Hash) ([]byte, error) { return digest(data, h) })
		if err != nil {
			id.Unread = program.Text(err.Error())
		} else {
			id.Signers = []program.Signer{signer}
		}
	}
	return id, nil
}

// readStreams returns the streams that are needed, by their unpacked names.
func readStreams(data []byte) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := Streams(data, func(name string, r io.Reader, _ int64) error {
		switch name {
		case "!Property", "!_StringPool", "!_StringData", signatureStream:
		default:
			return nil
		}
		b, err := io.ReadAll(io.LimitReader(r, maxStream+1))
		if err != nil {
			return fmt.Errorf("msi: stream %s: %w", name, err)
		}
		if len(b) > maxStream {
			return fmt.Errorf("msi: stream %s is too large", name)
		}
		out[name] = b
		return nil
	})
	if errors.Is(err, ErrTooMany) {
		err = nil // what is needed comes early; unpack says that the rest was not looked at
	}
	return out, err
}

// Streams calls f for each stream of a compound file, by its unpacked name, until f returns an error. The reader is good until f returns.
func Streams(data []byte, f func(name string, r io.Reader, size int64) error) (err error) {
	defer func() {
		if p := recover(); p != nil { // the library trusts sector numbers in places
			err = fmt.Errorf("msi: %v", p)
		}
	}()
	doc, err := open(data)
	if err != nil {
		return err
	}
	for range maxStreams {
		s, err := doc.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("msi: %w", err)
		}
		if s.FileInfo().IsDir() {
			continue
		}
		if err := f(unpackName(s.Name), s, s.Size); err != nil {
			return err
		}
	}
	return ErrTooMany
}

// unpackName undoes the packing of stream names: code points from 0x3800 hold two of 64 characters, from 0x4800 one; 0x4840 marks a table.
func unpackName(s string) string {
	const set = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._"
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= 0x3800 && r < 0x4800:
			r -= 0x3800
			b.WriteByte(set[r&0x3f])
			b.WriteByte(set[r>>6&0x3f])
		case r >= 0x4800 && r < 0x4840:
			b.WriteByte(set[r-0x4800])
		case r == 0x4840:
			b.WriteByte('!')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// stringPool returns the strings by index (from 1) and whether tables refer to them with three bytes instead of two.
func stringPool(pool, data []byte) (strs []string, wide bool, err error) {
	if len(pool) < 4 {
		return nil, false, errors.New("msi: no string pool")
	}
	wide = binary.LittleEndian.Uint16(pool[2:])&0x8000 != 0
	strs = []string{""}
	for at := 4; at+4 <= len(pool) && len(strs) < maxStrings; at += 4 {
		size, refs := int(binary.LittleEndian.Uint16(pool[at:])), binary.LittleEndian.Uint16(pool[at+2:])
		if size == 0 && refs != 0 { // a string of 64 KiB or more: its size is in the next entry
			if at+8 > len(pool) {
				break
			}
			size = int(binary.LittleEndian.Uint32(pool[at+4:]))
			at += 4
		}
		if size > len(data) {
			return nil, false, errors.New("msi: string pool is cut off")
		}
		strs = append(strs, string(data[:size]))
		data = data[size:]
	}
	return strs, wide, nil
}

// properties reads the two columns of the Property table, which are stored one after the other.
func properties(table []byte, pool []string, wide bool) map[string]string {
	width := 2
	if wide {
		width = 3
	}
	rows := min(len(table)/(2*width), maxRows)
	columns := len(table) / (2 * width) * width
	str := func(at int) string {
		n := int(table[at]) | int(table[at+1])<<8
		if wide {
			n |= int(table[at+2]) << 16
		}
		if n >= len(pool) {
			return ""
		}
		return pool[n]
	}
	out := make(map[string]string, rows)
	for i := range rows {
		out[str(i*width)] = str(columns + i*width)
	}
	return out
}
