package programtest

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
)

// File is a member of an archive.
type File struct {
	Name string
	Body []byte
}

// RAR makes an archive in the format of RAR 2.9, its files stored; flags are added to those of each file (4: encrypted).
func RAR(flags uint16, files ...File) []byte {
	le := binary.LittleEndian
	block := func(kind byte, flags uint16, rest []byte) []byte {
		h := append([]byte{kind}, le.AppendUint16(le.AppendUint16(nil, flags), uint16(7+len(rest)))...)
		h = append(h, rest...)
		return append(le.AppendUint16(nil, uint16(crc32.ChecksumIEEE(h))), h...)
	}
	b := append([]byte("Rar!\x1a\x07\x00"), block(0x73, 0, make([]byte, 6))...)
	for _, f := range files {
		var h []byte
		h = le.AppendUint32(h, uint32(len(f.Body)))
		h = le.AppendUint32(h, uint32(len(f.Body)))
		h = append(h, 3) // Unix
		h = le.AppendUint32(h, crc32.ChecksumIEEE(f.Body))
		h = le.AppendUint32(h, 0)
		h = append(h, 29, 0x30)
		h = le.AppendUint16(h, uint16(len(f.Name)))
		h = le.AppendUint32(h, 0o100644)
		b = append(append(b, block(0x74, 0x8000|flags, append(h, f.Name...))...), f.Body...)
	}
	return append(b, block(0x7b, 0x4000, nil)...)
}

// Cabinet makes a cabinet of one folder whose files are stored in blocks.
func Cabinet(files ...File) []byte {
	le := binary.LittleEndian
	var entries, all []byte
	for _, f := range files {
		entries = le.AppendUint32(le.AppendUint32(entries, uint32(len(f.Body))), uint32(len(all)))
		entries = append(append(append(entries, make([]byte, 8)...), f.Name...), 0)
		all = append(all, f.Body...)
	}
	var blocks []byte
	count := 0
	for chunk := range slices.Chunk(all, 32<<10) {
		blocks = le.AppendUint16(le.AppendUint16(le.AppendUint32(blocks, 0), uint16(len(chunk))), uint16(len(chunk)))
		blocks = append(blocks, chunk...)
		count++
	}
	b := le.AppendUint32([]byte("MSCF\x00\x00\x00\x00"), uint32(44+len(entries)+len(blocks)))
	b = append(le.AppendUint32(append(b, 0, 0, 0, 0), 44), 0, 0, 0, 0, 3, 1, 1, 0)
	b = append(le.AppendUint16(b, uint16(len(files))), 0, 0, 0, 0, 0, 0)
	b = le.AppendUint16(le.AppendUint16(le.AppendUint32(b, uint32(44+len(entries))), uint16(count)), 0)
	return append(append(b, entries...), blocks...)
}

// XAR makes an installer package of macOS.
func XAR(style string, files ...File) []byte {
	squeeze := func(b []byte) []byte {
		var out bytes.Buffer
		z := zlib.NewWriter(&out)
		_, _ = z.Write(b) // to memory
		_ = z.Close()
		return out.Bytes()
	}
	var heap []byte
	toc := "<?xml version=\"1.0\"?><xar><toc><file id=\"1\"><type>directory</type><name>empty</name></file>"
	for _, f := range files {
		body := f.Body
		if style == "application/x-gzip" {
			body = squeeze(body)
		}
		toc += fmt.Sprintf("<file><name>%s</name><type>file</type><data><length>%d</length><offset>%d</offset><size>%d</size><encoding style=\"%s\"/></data></file>",
			f.Name, len(body), len(heap), len(f.Body), style)
		heap = append(heap, body...)
	}
	toc += "</toc></xar>"
	packed := squeeze([]byte(toc))
	be := binary.BigEndian
	b := be.AppendUint16(be.AppendUint16([]byte("xar!"), 28), 1)
	b = be.AppendUint32(be.AppendUint64(be.AppendUint64(b, uint64(len(packed))), uint64(len(toc))), 0)
	return append(append(b, packed...), heap...)
}

// ASAR makes an archive as Electron programs carry it.
func ASAR(files ...File) []byte {
	type node struct {
		Files  map[string]*node `json:"files,omitempty"`
		Size   int              `json:"size,omitempty"`
		Offset string           `json:"offset,omitempty"`
	}
	root := &node{Files: map[string]*node{}}
	var all []byte
	for _, f := range files {
		root.Files[f.Name] = &node{Size: len(f.Body), Offset: fmt.Sprint(len(all))}
		all = append(all, f.Body...)
	}
	text, _ := json.Marshal(root) // names and numbers
	le, padded := binary.LittleEndian, (len(text)+3)&^3
	b := le.AppendUint32(le.AppendUint32(nil, 4), uint32(padded+8))
	b = append(le.AppendUint32(le.AppendUint32(b, uint32(padded+4)), uint32(len(text))), text...)
	return append(append(b, make([]byte, padded-len(text))...), all...)
}

// MachO makes a program of macOS with a code signature (cs_blobs.h) that names its identifier and team.
func MachO(identifier, team string) []byte {
	const directorySize = 52
	directory := binary.BigEndian.AppendUint32(nil, 0xfade0c02)
	texts := identifier + "\x00" + team + "\x00"
	directory = binary.BigEndian.AppendUint32(directory, uint32(directorySize+len(texts)))
	directory = binary.BigEndian.AppendUint32(directory, 0x20200)
	directory = append(directory, make([]byte, directorySize-len(directory))...)
	binary.BigEndian.PutUint32(directory[20:], directorySize)
	binary.BigEndian.PutUint32(directory[48:], uint32(directorySize+len(identifier)+1))
	directory = append(directory, texts...)
	super := binary.BigEndian.AppendUint32(nil, 0xfade0cc0)
	super = binary.BigEndian.AppendUint32(super, uint32(20+len(directory)))
	super = binary.BigEndian.AppendUint32(super, 1)
	super = binary.BigEndian.AppendUint32(super, 0)
	super = append(binary.BigEndian.AppendUint32(super, 20), directory...)
	var b []byte
	for _, v := range []uint32{0xfeedfacf, 0x0100000c, 0, 2, 1, 16, 0, 0, 0x1d, 16, 48, uint32(len(super))} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return append(b, super...)
}
