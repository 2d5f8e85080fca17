package verify

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// head is the hashed part of a frame.
type head struct {
	Stream   string
	Sequence uint64
	Prev     string
	Count    int
	Root     string
}

// header is what the verifier reads of a record's header; the whole of it must be canonical.
type header struct {
	ID      string
	Kind    string
	Phase   string
	Refers  string
	Sealed  string
	Objects []object

	Time, Received, Source, Reason string // for day rolls
}

type object struct{ Name, SHA256 string }

const timeLayout = "2006-01-02T15:04:05.000000000Z"

var errForm = errors.New("not in canonical form")

// parseHead reads a frame's head and checks that it is the only way to write it.
func parseHead(b []byte) (head, error) {
	m, err := canonical(b)
	if err != nil {
		return head{}, err
	}
	for k := range m {
		if !slices.Contains([]string{"v", "stream", "seq", "prev", "time", "count", "root"}, k) {
			return head{}, fmt.Errorf("head with unknown key %q", k)
		}
	}
	h := head{Stream: text(m["stream"]), Sequence: number(m["seq"]), Prev: text(m["prev"]), Count: int(number(m["count"])), Root: text(m["root"])}
	if number(m["v"]) != 1 {
		return h, errors.New("head of unknown version")
	}
	if t, err := time.Parse(timeLayout, text(m["time"])); err != nil || t.Format(timeLayout) != text(m["time"]) {
		return h, errors.New("head with a malformed time")
	}
	return h, nil
}

func parseHeader(b []byte) (header, error) {
	m, err := canonical(b)
	if err != nil {
		return header{}, err
	}
	h := header{ID: text(m["id"]), Kind: text(m["kind"]), Phase: text(m["phase"]), Refers: text(m["refers"]), Sealed: text(m["sealed"]),
		Time: text(m["time"]), Received: text(m["received"]), Source: text(m["source"]), Reason: text(m["reason"])}
	list, _ := m["objects"].([]any)
	for _, o := range list {
		if x, ok := o.(map[string]any); ok {
			h.Objects = append(h.Objects, object{text(x["name"]), text(x["sha256"])})
		}
	}
	if number(m["v"]) != 1 {
		return h, errors.New("header of unknown version")
	}
	return h, nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// number reads a whole number, which beyond 2^53-1 is written as a string; 0 when there is none.
func number(v any) uint64 {
	switch x := v.(type) {
	case int64:
		return uint64(max(x, 0))
	case string:
		if n, err := strconv.ParseUint(x, 10, 64); err == nil {
			return n
		}
	}
	return 0
}

// canonical checks that b is one JSON object in the form of RFC 8785, with whole numbers only, and returns it.
func canonical(b []byte) (map[string]any, error) {
	s := scanner{b: b}
	if len(b) == 0 || b[0] != '{' {
		return nil, errForm
	}
	v, err := s.value(0)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok || s.at != len(b) {
		return nil, errForm
	}
	return m, nil
}

// maxDepth bounds nesting; heads and headers need three.
const maxDepth = 32

// scanner reads canonical JSON and nothing else: what has a second form is refused where it stands.
type scanner struct {
	b  []byte
	at int
}

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.b) {
		return s.b[s.at]
	}
	return 0
}

// take skips the byte c if it is next.
func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.at == len(s.b) {
		return false
	}
	s.at++
	return true
}

func (s *scanner) value(depth int) (any, error) {
	switch c := s.peek(); {
	case depth > maxDepth:
		return nil, errForm
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
	case c == '"':
		return s.text()
	case c == 't' || c == 'f':
		return s.literal()
	default:
		return s.number()
	}
}

func (s *scanner) object(depth int) (any, error) {
	s.at++
	m := map[string]any{}
	if s.take('}') {
		return m, nil
	}
	for last := ""; ; {
		key, err := s.text()
		if err != nil {
			return nil, err
		}
		if len(m) > 0 && byUnits(last, key) >= 0 || !s.take(':') {
			return nil, errForm
		}
		if m[key], err = s.value(depth + 1); err != nil {
			return nil, err
		}
		if last = key; s.take('}') {
			return m, nil
		}
		if !s.take(',') {
			return nil, errForm
		}
	}
}

func (s *scanner) array(depth int) (any, error) {
	s.at++
	list := []any{}
	if s.take(']') {
		return list, nil
	}
	for {
		v, err := s.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if list = append(list, v); s.take(']') {
			return list, nil
		}
		if !s.take(',') {
			return nil, errForm
		}
	}
}

func (s *scanner) literal() (any, error) {
	for _, word := range []string{"true", "false"} {
		if bytes.HasPrefix(s.b[s.at:], []byte(word)) {
			s.at += len(word)
			return word == "true", nil
		}
	}
	return nil, errForm
}

// number reads a whole number within 2^53-1.
func (s *scanner) number() (any, error) {
	start := s.at
	for c := s.peek(); c == '-' || c >= '0' && c <= '9'; c = s.peek() {
		s.at++
	}
	digits := string(s.b[start:s.at])
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > 1<<53-1 || n < -(1<<53-1) || strconv.FormatInt(n, 10) != digits {
		return nil, errForm
	}
	return n, nil
}

// text reads a string with the escapes of RFC 8785, section 3.2.2.2, and no others.
func (s *scanner) text() (string, error) {
	if !s.take('"') {
		return "", errForm
	}
	start := s.at
	var out []byte // when there are escapes
	for s.at < len(s.b) {
		switch c := s.b[s.at]; {
		case c == '"':
			out = append(out, s.b[start:s.at]...)
			if s.at++; !utf8.Valid(out) {
				return "", errForm
			}
			return string(out), nil
		case c < 0x20:
			return "", errForm
		case c == '\\':
			out = append(out, s.b[start:s.at]...)
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			out, start = append(out, r), s.at
		default:
			s.at++
		}
	}
	return "", errForm
}

// escape reads one escape: two characters where there is such a form, else \u00xx in lower case for a control character.
func (s *scanner) escape() (byte, error) {
	const letters, meaning = "\"\\btnfr", "\"\\\b\t\n\f\r"
	rest := s.b[s.at+1:]
	if len(rest) == 0 {
		return 0, errForm
	}
	if i := strings.IndexByte(letters, rest[0]); i >= 0 {
		s.at += 2
		return meaning[i], nil
	}
	if len(rest) < 5 || string(rest[:3]) != "u00" {
		return 0, errForm
	}
	n, err := strconv.ParseUint(string(rest[3:5]), 16, 8)
	if err != nil || n >= 0x20 || strings.IndexByte(meaning, byte(n)) >= 0 || fmt.Sprintf("%02x", n) != string(rest[3:5]) {
		return 0, errForm
	}
	s.at += 6
	return byte(n), nil
}

// byUnits orders by UTF-16 code unit, which differs from the order of bytes only beyond the surrogates.
func byUnits(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] >= 0x80 || b[i] >= 0x80 {
			return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
		}
	}
	return strings.Compare(a, b)
}
