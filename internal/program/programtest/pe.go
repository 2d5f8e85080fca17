// Package programtest makes small but real programs and packages for tests and for the demo.
//
// They are generated: they run or install nothing of the product that they name, but every reader of their format takes them for what
// they say they are.
package programtest

import (
	"bytes"
	"encoding/binary"
	"sort"
	"unicode/utf16"
)

// Layout of the PE file: headers, one page of code, one section of resources.
const (
	alignFile    = 0x200
	alignMemory  = 0x1000
	codeAt       = alignMemory
	resourceAt   = 2 * alignMemory
	resourceType = 16 // RT_VERSION
	english      = 0x409
)

// PE returns a Windows program (PE32+, x86-64) that ends at once, with a version resource that holds the given strings, such as
// ProductName, CompanyName, FileDescription, ProductVersion and OriginalFilename.
func PE(version map[string]string) []byte {
	resources := resourceSection(versionInfo(version))
	size := align(len(resources), alignFile)
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			_ = binary.Write(&b, binary.LittleEndian, v) // a Buffer never fails
		}
	}
	put([]byte("MZ"), make([]byte, 58), uint32(64))
	put([]byte("PE\x00\x00"), uint16(0x8664), uint16(2), uint32(0), uint32(0), uint32(0), uint16(240), uint16(0x22))
	put(uint16(0x20b), uint16(0), uint32(alignFile), uint32(size), uint32(0), uint32(codeAt), uint32(codeAt))
	put(uint64(0x140000000), uint32(alignMemory), uint32(alignFile), uint16(6), uint16(0), uint16(0), uint16(0), uint16(6), uint16(0), uint32(0))
	put(uint32(resourceAt+align(len(resources), alignMemory)), uint32(alignFile), uint32(0), uint16(3), uint16(0x8160))
	put(uint64(1<<20), uint64(1<<12), uint64(1<<20), uint64(1<<12), uint32(0), uint32(16))
	for i := range 16 {
		if i == 2 {
			put(uint32(resourceAt), uint32(len(resources)))
		} else {
			put(uint64(0))
		}
	}
	section := func(name string, at, length, offset int, flags uint32) {
		var n [8]byte
		copy(n[:], name)
		put(n, uint32(length), uint32(at), uint32(align(length, alignFile)), uint32(offset), uint32(0), uint32(0), uint32(0), flags)
	}
	section(".text", codeAt, 3, alignFile, 0x60000020)
	section(".rsrc", resourceAt, len(resources), 2*alignFile, 0x40000040)
	put(make([]byte, alignFile-b.Len()))
	put([]byte{0x31, 0xc0, 0xc3}, make([]byte, alignFile-3)) // xor eax, eax; ret
	put(resources, make([]byte, size-len(resources)))
	return b.Bytes()
}

func align(n, to int) int { return (n + to - 1) / to * to }

// resourceSection wraps one version resource in the three levels of directories: type, name, language.
func resourceSection(info []byte) []byte {
	const directory, entry, dataAt = 16, 8, 3 * (16 + 8)
	b := make([]byte, 0, dataAt+16+len(info))
	for level, id := range []uint32{resourceType, 1, english} {
		b = append(b, make([]byte, 12)...)
		b = binary.LittleEndian.AppendUint16(b, 0)
		b = binary.LittleEndian.AppendUint16(b, 1)
		b = binary.LittleEndian.AppendUint32(b, id)
		next := uint32((level + 1) * (directory + entry))
		if level < 2 {
			next |= 1 << 31
		}
		b = binary.LittleEndian.AppendUint32(b, next)
	}
	b = binary.LittleEndian.AppendUint32(b, resourceAt+dataAt+16)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(info)))
	b = append(b, make([]byte, 8)...)
	return append(b, info...)
}

// versionInfo makes a VS_VERSIONINFO with one string table and one translation.
func versionInfo(texts map[string]string) []byte {
	keys := make([]string, 0, len(texts))
	for k := range texts {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var strs [][]byte
	for _, k := range keys {
		value := wide(texts[k])
		strs = append(strs, node(k, value, len(value)/2, 1))
	}
	table := node("040904b0", nil, 0, 1, strs...)
	fixed := make([]byte, 52)
	binary.LittleEndian.PutUint32(fixed, 0xfeef04bd)
	binary.LittleEndian.PutUint32(fixed[4:], 0x10000)
	translation := node("Translation", []byte{0x09, 0x04, 0xb0, 0x04}, 4, 0)
	return node("VS_VERSION_INFO", fixed, len(fixed), 0, node("StringFileInfo", nil, 0, 1, table), node("VarFileInfo", nil, 0, 1, translation))
}

// node makes one node of the tree: length, length of the value, type, key, value, children, each on a boundary of four bytes.
func node(key string, value []byte, valueLength, kind int, children ...[]byte) []byte {
	b := make([]byte, 6)
	b = pad(append(b, wide(key)...))
	b = append(b, value...)
	for _, c := range children {
		b = append(pad(b), c...)
	}
	binary.LittleEndian.PutUint16(b, uint16(len(b)))
	binary.LittleEndian.PutUint16(b[2:], uint16(valueLength))
	binary.LittleEndian.PutUint16(b[4:], uint16(kind))
	return b
}

func pad(b []byte) []byte { return append(b, make([]byte, align(len(b), 4)-len(b))...) }

// wide is UTF-16LE with a zero at its end.
func wide(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}
