package xmlstream

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// appendText decodes references in character data or an attribute value.
func appendText(out, data []byte, attribute bool) ([]byte, error) {
	var err error
	for {
		i := bytes.IndexByte(data, '&')
		if i < 0 {
			return appendPlain(out, data, attribute)
		}
		if out, err = appendPlain(out, data[:i], attribute); err != nil {
			return out, err
		}
		data = data[i+1:]
		end := bytes.IndexByte(data, ';')
		if end < 0 || end > 10 {
			return out, fail(NotWellFormed, "a reference does not end")
		}
		r, err := reference(string(data[:end]))
		if err != nil {
			return out, err
		}
		out = utf8.AppendRune(out, r)
		data = data[end+1:]
	}
}

func reference(name string) (rune, error) {
	switch name {
	case "amp":
		return '&', nil
	case "lt":
		return '<', nil
	case "gt":
		return '>', nil
	case "quot":
		return '"', nil
	case "apos":
		return '\'', nil
	}
	digits, numeric := strings.CutPrefix(name, "#")
	if !numeric {
		return 0, fail(RestrictedXML, "an entity other than the five of XML")
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || strings.ContainsAny(digits, "_+") || !validChar(rune(n)) {
		return 0, fail(NotWellFormed, "a reference to no character")
	}
	return rune(n), nil
}

// appendPlain copies data without references, with line ends (XML 1.0, section 2.11) and, in attributes, white space normalised.
func appendPlain(out, data []byte, attribute bool) ([]byte, error) {
	for i := 0; i < len(data); {
		c := data[i]
		switch {
		case c >= ' ' && c < utf8.RuneSelf:
			out = append(out, c)
		case c == '\r':
			if i+1 >= len(data) || data[i+1] != '\n' {
				out = appendSpace(out, '\n', attribute)
			}
		case c == '\n' || c == '\t':
			out = appendSpace(out, c, attribute)
		default:
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size <= 1 || !validChar(r) {
				return out, fail(NotWellFormed, "bytes that are no character")
			}
			out = append(out, data[i:i+size]...)
			i += size
			continue
		}
		i++
	}
	return out, nil
}

func appendSpace(out []byte, c byte, attribute bool) []byte {
	if attribute {
		c = ' '
	}
	return append(out, c)
}

// validChar is the Char of XML 1.0, section 2.2.
func validChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// name returns b as a string, without an allocation for what most stanzas are made of.
func name(b []byte) string {
	switch string(b) {
	case "message":
		return "message"
	case "presence":
		return "presence"
	case "iq":
		return "iq"
	case "body":
		return "body"
	case "id":
		return "id"
	case "to":
		return "to"
	case "from":
		return "from"
	case "type":
		return "type"
	case "xmlns":
		return "xmlns"
	case "lang":
		return "lang"
	case "jabber:client":
		return "jabber:client"
	}
	return string(b)
}

// Escape appends s as it may stand in character data or an attribute value of either quote. Characters that XML cannot hold are left out.
func Escape(out []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r == '&':
			out = append(out, "&amp;"...)
		case r == '<':
			out = append(out, "&lt;"...)
		case r == '>':
			out = append(out, "&gt;"...)
		case r == '"':
			out = append(out, "&quot;"...)
		case r == '\'':
			out = append(out, "&apos;"...)
		case r == '\n' || r == '\r' || r == '\t':
			out = append(append(append(out, "&#"...), strconv.Itoa(int(r))...), ';')
		case validChar(r):
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

// Edit is a replacement of raw[From:To].
type Edit struct {
	From, To int
	With     []byte
}

// Apply returns raw with the edits, which are in order and do not overlap, carried out.
func Apply(raw []byte, edits ...Edit) []byte {
	out := make([]byte, 0, len(raw))
	last := 0
	for _, e := range edits {
		out = append(append(out, raw[last:e.From]...), e.With...)
		last = e.To
	}
	return append(out, raw[last:]...)
}
