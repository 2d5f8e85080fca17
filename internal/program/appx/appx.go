// Package appx checks who signed an MSIX or AppX package, or a bundle of them.
//
// The signature is AppxSignature.p7x: four letters, then a message of PKCS #7 as Authenticode has it. What it signs is a list of hashes: of all
// that lies before it in the archive, of the archive's directory without it, and of three files of the package. The package is the one that was
// signed only when all of them are right. As for programs, no authority is asked.
package appx

import (
	"archive/zip"
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/authenticode"
)

// Files of a package.
const (
	signatureName = "AppxSignature.p7x"
	contentTypes  = "[Content_Types].xml"
	blockMap      = "AppxBlockMap.xml"
	integrity     = "AppxMetadata/CodeIntegrity.cat"

	magic        = "PKCX"
	maxSignature = 1 << 20
	maxFile      = 64 << 20 // of the files that are hashed as they are unpacked
)

var (
	errUnsigned = errors.New("the package is not signed")
	errMagic    = errors.New("appx: the signature has no magic")
	errLarge    = errors.New("appx: a file that is signed is too large")
)

// Sign puts who signed the package in place of what its manifest says of that, and says whether the signature is of this very package.
func Sign(data []byte, id *program.Identity) {
	s, err := signer(data)
	switch {
	case err == nil:
		id.Signers = []program.Signer{s}
	case len(id.Signers) > 0:
		id.Signers[0].Unverified = program.Text(err.Error())
	}
}

func signer(data []byte) (program.Signer, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return program.Signer{}, fmt.Errorf("appx: %w", err)
	}
	der, err := content(z, signatureName, maxSignature)
	switch {
	case err != nil:
		return program.Signer{}, err
	case der == nil:
		return program.Signer{}, errUnsigned
	case !bytes.HasPrefix(der, []byte(magic)):
		return program.Signer{}, errMagic
	}
	return authenticode.Parse(der[len(magic):], func(h crypto.Hash) ([]byte, error) { return digest(data, z, h) })
}

// content unpacks a file, nil when there is none. Of two of one name the first counts, as for whoever reads the manifest.
func content(z *zip.Reader, name string, limit int64) ([]byte, error) {
	for _, f := range z.File {
		if f.Name != name {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("appx: %s: %w", name, err)
		}
		b, err := io.ReadAll(io.LimitReader(r, limit+1))
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, fmt.Errorf("appx: %s: %w", name, err)
		}
		if int64(len(b)) > limit {
			return nil, errLarge
		}
		return b, nil
	}
	return nil, nil
}

// digest makes the list of hashes anew.
func digest(data []byte, z *zip.Reader, h crypto.Hash) ([]byte, error) {
	d, err := openDirectory(data)
	if err != nil {
		return nil, err
	}
	out := []byte("APPX")
	add := func(tag string, b ...[]byte) {
		x := h.New()
		for _, part := range b {
			x.Write(part)
		}
		out = x.Sum(append(out, tag...))
	}
	add("AXPC", data[:d.signature])
	add("AXCD", d.entries, d.end)
	for _, f := range []struct{ tag, name string }{{"AXCT", contentTypes}, {"AXBM", blockMap}, {"AXCI", integrity}} {
		b, err := content(z, f.name, maxFile)
		if err != nil {
			return nil, err
		}
		if b != nil || f.name != integrity { // that one is not in every package
			add(f.tag, b)
		}
	}
	return out, nil
}

// Records of a zip archive, by PKWARE's APPNOTE, sections 4.3.12 to 4.3.16, with the places of fields in them.
const (
	endSize       = 22
	end64Size     = 56
	locatorSize   = 20
	entrySize     = 46
	endMagic      = "PK\x05\x06"
	end64Magic    = "PK\x06\x06"
	locatorMagic  = "PK\x06\x07"
	entryMagic    = "PK\x01\x02"
	zip64ID       = 1
	full32        = 0xffffffff
	full16        = 0xffff
	entryOffset   = 42 // of the local header
	entryUnpacked = 24
	entryPacked   = 20
)

var errDirectory = errors.New("appx: the directory of the archive is not as a signed package has it")

// directory is the archive's directory as it was before the signature was put in.
type directory struct {
	signature uint64 // where the signature's record begins
	entries   []byte // without that of the signature
	end       []byte // the records behind
}

func openDirectory(data []byte) (*directory, error) {
	if len(data) < endSize || string(data[len(data)-endSize:len(data)-endSize+4]) != endMagic {
		return nil, errDirectory // also one with a comment behind, which nobody signed
	}
	end := len(data) - endSize
	begin := uint64(binary.LittleEndian.Uint32(data[end+16:]))
	wide := -1
	if end >= locatorSize && string(data[end-locatorSize:end-locatorSize+4]) == locatorMagic {
		at := binary.LittleEndian.Uint64(data[end-locatorSize+8:])
		if at > uint64(len(data)) || uint64(len(data))-at != end64Size+locatorSize+endSize || string(data[at:at+4]) != end64Magic {
			return nil, errDirectory
		}
		wide = int(at)
		begin = binary.LittleEndian.Uint64(data[at+48:])
	}
	until := uint64(end)
	if wide >= 0 {
		until = uint64(wide)
	}
	if begin > until {
		return nil, errDirectory
	}
	d := &directory{}
	if err := d.read(data[begin:until], begin); err != nil {
		return nil, err
	}
	d.finish(data[until:], wide >= 0)
	return d, nil
}

// read takes the entries apart. That of the signature is left out; its record must be the last before the directory.
func (d *directory) read(b []byte, begin uint64) error {
	found := false
	for len(b) > 0 {
		if len(b) < entrySize || string(b[:4]) != entryMagic {
			return errDirectory
		}
		name, extra := int(binary.LittleEndian.Uint16(b[28:])), int(binary.LittleEndian.Uint16(b[30:]))
		size := entrySize + name + extra + int(binary.LittleEndian.Uint16(b[32:]))
		if size > len(b) {
			return errDirectory
		}
		if string(b[entrySize:entrySize+name]) != signatureName {
			d.entries = append(d.entries, b[:size]...)
		} else {
			if found {
				return errDirectory
			}
			found = true
			d.signature = localOffset(b[:entrySize], b[entrySize+name:entrySize+name+extra])
		}
		b = b[size:]
	}
	if !found || d.signature > begin {
		return errDirectory
	}
	return nil
}

// localOffset is where an entry's record begins: a number of eight bytes stands in an extra field behind those others that do not fit.
func localOffset(entry, extra []byte) uint64 {
	at := uint64(binary.LittleEndian.Uint32(entry[entryOffset:]))
	if at != full32 {
		return at
	}
	skip := 0
	for _, field := range []int{entryUnpacked, entryPacked} {
		if binary.LittleEndian.Uint32(entry[field:]) == full32 {
			skip += 8
		}
	}
	for len(extra) >= 4 {
		id, size := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		extra = extra[4:]
		if size > len(extra) {
			break
		}
		if id == zip64ID && size >= skip+8 {
			return binary.LittleEndian.Uint64(extra[skip:])
		}
		extra = extra[size:]
	}
	return at
}

// finish writes the records behind the directory as they were: with one entry less, and where they began then.
func (d *directory) finish(tail []byte, wide bool) {
	d.end = bytes.Clone(tail)
	e, size, begin := d.end, uint64(len(d.entries)), d.signature
	if wide {
		for _, at := range []int{24, 32} { // entries on this disk, and in all
			binary.LittleEndian.PutUint64(e[at:], binary.LittleEndian.Uint64(e[at:])-1)
		}
		binary.LittleEndian.PutUint64(e[40:], size)
		binary.LittleEndian.PutUint64(e[48:], begin)
		binary.LittleEndian.PutUint64(e[end64Size+8:], begin+size) // of the locator
		e = e[end64Size+locatorSize:]
	}
	for _, at := range []int{8, 10} {
		if n := binary.LittleEndian.Uint16(e[at:]); n != full16 {
			binary.LittleEndian.PutUint16(e[at:], n-1)
		}
	}
	for at, v := range map[int]uint64{12: size, 16: begin} {
		if binary.LittleEndian.Uint32(e[at:]) != full32 {
			binary.LittleEndian.PutUint32(e[at:], uint32(v))
		}
	}
}
