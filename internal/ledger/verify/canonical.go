package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
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
	s, ok := v.(string)
	if n, isNumber := v.(json.Number); isNumber {
		s, ok = string(n), true
	}
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// canonical checks that b is one JSON object in the form of RFC 8785, with whole numbers only, and returns it.
func canonical(b []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errForm
	}
	again, err := appendJSON(make([]byte, 0, len(b)), v)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, errForm
	}
	return m, nil
}

func appendJSON(b []byte, v any) ([]byte, error) {
	switch x := v.(type) {
	case map[string]any:
		return appendObject(b, x)
	case []any:
		return appendArray(b, x)
	case string:
		return appendString(b, x), nil
	case json.Number:
		if n, err := strconv.ParseInt(string(x), 10, 64); err != nil || n > 1<<53-1 || n < -(1<<53-1) || strconv.FormatInt(n, 10) != string(x) {
			return nil, errForm
		}
		return append(b, x...), nil
	case bool:
		return strconv.AppendBool(b, x), nil
	}
	return nil, errForm
}

func appendObject(b []byte, x map[string]any) ([]byte, error) {
	keys := make([]string, 0, len(x))
	for k := range x {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, byUnits)
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendJSON(append(appendString(b, k), ':'), x[k]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
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

func appendArray(b []byte, x []any) ([]byte, error) {
	b = append(b, '[')
	for i, v := range x {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendJSON(b, v); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// appendString writes s with the escapes of RFC 8785, section 3.2.2.2.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= 0x20:
			b = append(b, c)
		case strings.IndexByte("\b\t\n\f\r", c) >= 0:
			b = append(b, '\\', "btnfr"[strings.IndexByte("\b\t\n\f\r", c)])
		default:
			b = fmt.Appendf(b, `\u%04x`, c)
		}
	}
	return append(b, '"')
}
