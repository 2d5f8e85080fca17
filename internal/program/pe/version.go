package pe

import (
	"encoding/binary"
	"errors"
	"unicode/utf16"

	"github.com/saferwall/pe"
)

// The version resource is a tree: each node has its length, the length of its value and a type, a name in UTF-16, its value and its children,
// each beginning at a multiple of four. Every node must be longer than its head, so that a walk ends.
const (
	nodeHead      = 6
	maxNodes      = 2000
	maxVersions   = 16 // languages and copies of the resource
	maxName       = 256
	versionLevels = 4 // VS_VERSION_INFO, StringFileInfo, a table for each language, a string
)

var errVersion = errors.New("broken")

// versionStrings returns the strings of all version resources, the first of each name.
func versionStrings(f *pe.File, data []byte) (map[string]string, error) {
	out := map[string]string{}
	var broken error
	count := 0
	for i := range f.Resources.Entries {
		if f.Resources.Entries[i].ID != pe.VersionResourceType {
			continue
		}
		for _, name := range f.Resources.Entries[i].Directory.Entries {
			for _, language := range name.Directory.Entries {
				if count++; count > maxVersions {
					return out, broken
				}
				at, size := uint64(f.GetOffsetFromRva(language.Data.Struct.OffsetToData)), uint64(language.Data.Struct.Size)
				if at >= uint64(len(data)) {
					broken = errVersion
					continue
				}
				w := versionWalk{out: out}
				if !w.node(data[at:min(uint64(len(data)), at+size)], 1) {
					broken = errVersion
				}
			}
		}
	}
	return out, broken
}

type versionWalk struct {
	out   map[string]string
	nodes int
}

// node reads one node, and reports whether it and all in it is whole.
func (w *versionWalk) node(b []byte, level int) bool {
	if w.nodes++; w.nodes > maxNodes || level > versionLevels || len(b) < nodeHead {
		return false
	}
	length, value := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
	if length > len(b) || length < nodeHead {
		return false
	}
	b = b[:length]
	name, at := wideText(b, nodeHead, maxName)
	at = (at + 3) &^ 3
	if level == versionLevels {
		if text, _ := wideText(b, min(at, len(b)), min(value, len(b)/2)); w.out[name] == "" {
			w.out[name] = text
		}
		return true
	}
	if level == 1 { // numbers
		at = (at + value + 3) &^ 3
	}
	if name == "VarFileInfo" {
		return true
	}
	for at+nodeHead <= len(b) {
		step := int(binary.LittleEndian.Uint16(b[at:]))
		if step == 0 { // some are filled up behind
			return true
		}
		if !w.node(b[at:], level+1) {
			return false
		}
		at = (at + step + 3) &^ 3
	}
	return true
}

// wideText reads UTF-16 up to its end mark, at most so many units, and tells where it ends.
func wideText(b []byte, at, units int) (string, int) {
	var out []uint16
	for ; at+2 <= len(b) && len(out) < units; at += 2 {
		u := binary.LittleEndian.Uint16(b[at:])
		if u == 0 {
			return string(utf16.Decode(out)), at + 2
		}
		out = append(out, u)
	}
	return string(utf16.Decode(out)), at
}
