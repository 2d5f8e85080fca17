package verify

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestCanonicalForm(t *testing.T) {
	for _, good := range []string{`{}`, `{"a":1,"b":[true,false,{"c":"x"}]}`, `{"a":"é\n\u0001\"\\"}`, `{"n":-9007199254740991}`, `{"n":0}`, "{\"a\":\"\u2028\"}", "{\"\U00010000\":1,\"\uffee\":2}"} {
		if _, err := canonical([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{``, `[]`, `null`, `"x"`, `{"b":1,"a":2}`, `{"a":1,"a":1}`, `{"a": 1}`, `{"a":1.0}`, `{"a":1e3}`, `{"a":-0}`, `{"a":9007199254740992}`, `{"a":null}`,
		`{"a":"\u0041"}`, `{"a":"\/"}`, `{"a":"\u000A"}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, `{"a":1}x`, `{"a":1`, "{\"\uffee\":2,\"\U00010000\":1}"} {
		if _, err := canonical([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

// FuzzCanonical holds the scanner against the other way to find out: decode with the standard library, encode in order, compare.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[true,false,{"c":"x"}]}`, `{"a":"é\n\u0001\"\\"}`, `{"a":[],"b":{}}`, `{"a":"\u000a"}`, `{"b":1,"a":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > maxDepth {
			return
		}
		_, err := canonical(b)
		if want := reencoded(b); (err == nil) != want {
			t.Fatalf("%q: %v, but encoding it again says %v", b, err, want)
		}
	})
}

func reencoded(b []byte) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return false
	}
	if _, ok := v.(map[string]any); !ok {
		return false
	}
	again, ok := appendJSON(nil, v)
	return ok && bytes.Equal(again, b)
}

func appendJSON(b []byte, v any) ([]byte, bool) {
	var ok bool
	switch x := v.(type) {
	case map[string]any:
		keys := slices.SortedFunc(maps.Keys(x), byUnits)
		b = append(b, '{')
		for i, k := range keys {
			if i > 0 {
				b = append(b, ',')
			}
			if b, ok = appendJSON(append(appendString(b, k), ':'), x[k]); !ok {
				return nil, false
			}
		}
		return append(b, '}'), true
	case []any:
		b = append(b, '[')
		for i, e := range x {
			if i > 0 {
				b = append(b, ',')
			}
			if b, ok = appendJSON(b, e); !ok {
				return nil, false
			}
		}
		return append(b, ']'), true
	case string:
		return appendString(b, x), true
	case json.Number:
		n, err := strconv.ParseInt(string(x), 10, 64)
		return append(b, x...), err == nil && n <= 1<<53-1 && n >= -(1<<53-1) && strconv.FormatInt(n, 10) == string(x)
	case bool:
		return strconv.AppendBool(b, x), true
	}
	return nil, false
}

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
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

func TestParseHead(t *testing.T) {
	const good = `{"count":2,"root":"aa","seq":1,"stream":"local","time":"2026-01-02T03:04:00.000000000Z","v":1}`
	h, err := parseHead([]byte(good))
	if err != nil || h.Stream != "local" || h.Sequence != 1 || h.Count != 2 || h.Root != "aa" {
		t.Errorf("%+v %v", h, err)
	}
	for _, change := range [][2]string{{`"v":1`, `"v":2`}, {`"time":"2026-01-02T03:04:00.000000000Z"`, `"time":"2026-01-02T03:04:00Z"`}, {`"time":"2026-01-02T03:04:00.000000000Z",`, ``},
		{`"v":1}`, `"v":1,"x":1}`}, {`2026-01-02`, `2026-13-02`}} {
		if _, err := parseHead([]byte(strings.Replace(good, change[0], change[1], 1))); err == nil {
			t.Errorf("with %s it was accepted", change[1])
		}
	}
}

func TestLargeNumbersAreStrings(t *testing.T) {
	if n := number("18014398509481984"); n != 18014398509481984 {
		t.Error(n)
	}
	for _, v := range []any{"x", "-1", "", nil, true} {
		if n := number(v); n != 0 {
			t.Errorf("%v became %d", v, n)
		}
	}
}

func TestSplit(t *testing.T) {
	part := func(n int) []byte { return append(binary.AppendUvarint(nil, uint64(n)), make([]byte, n)...) }
	for _, c := range []struct {
		in   []byte
		want int // parts, -1 for refused
	}{{nil, 0}, {[]byte{0}, 1}, {part(200), 1}, {append(part(3), part(0)...), 2}, {[]byte{5, 1}, -1}, {[]byte{0x80}, -1}, {[]byte{0x80, 0}, -1},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, -1}, {part(1001), -1}} {
		parts, err := split(c.in, 1000)
		if (err != nil) != (c.want < 0) || err == nil && len(parts) != c.want {
			t.Errorf("%x: %d parts, %v", c.in[:min(12, len(c.in))], len(parts), err)
		}
	}
	if _, err := split(make([]byte, maxParts+1), 1); err == nil {
		t.Error("more parts than the format allows")
	}
}

// segment makes the bytes of a frame of three sections.
func segment(head, headers, sealed []byte) []byte {
	b := []byte(magic)
	for _, s := range [][]byte{head, headers, sealed} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	}
	b = append(append(append(b, head...), headers...), sealed...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func TestReadFrameBounds(t *testing.T) {
	good := segment([]byte("{}"), []byte{1, 'h'}, []byte{1, 's'})
	read := func(b []byte) (*frame, error) {
		var buf []byte
		f, _, err := readFrame(bytes.NewReader(b), int64(len(b)), &buf)
		if len(buf) > len(b) {
			t.Errorf("%d bytes were allocated for %d", len(buf), len(b))
		}
		return f, err
	}
	if f, err := read(good); err != nil || !f.crcGood || string(f.headers[0]) != "h" || string(f.sealed[0]) != "s" {
		t.Errorf("%+v %v", f, err)
	}
	if _, err := read(nil); !errors.Is(err, io.EOF) {
		t.Errorf("nothing: %v", err)
	}
	for n := 1; n < len(good); n++ {
		if _, err := read(good[:n]); !errors.Is(err, errTorn) {
			t.Errorf("cut after %d: %v", n, err)
		}
	}
	huge := bytes.Clone(good)
	binary.BigEndian.PutUint32(huge[12:], 1<<32-1)
	unequal := segment([]byte("{}"), []byte{1, 'h'}, nil)
	for name, b := range map[string][]byte{"a huge length": huge, "no magic": append([]byte("XXXX"), good[4:]...), "unequal sections": unequal} {
		if _, err := read(b); err == nil || errors.Is(err, errTorn) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTree holds the tree against the known roots of RFC 6962's reference log for the leaves "", 00, 10.
func TestTree(t *testing.T) {
	want := []string{"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"}
	var tr tree
	for i, leaf := range [][]byte{{}, {0}, {0x10}, nil} {
		root := tr.root()
		if got := hex.EncodeToString(root[:]); got != want[i] {
			t.Errorf("%d leaves: %s", i, got)
		}
		tr.append(leafHash(leaf))
	}
}

func TestTilePath(t *testing.T) {
	for n, want := range map[uint64]string{0: "000", 7: "007", 999: "999", 1000: "x001/000", 1234067: "x001/x234/067"} {
		if got := tilePath(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestDayOf(t *testing.T) {
	const noon, later, next = "2026-01-02T12:00:00.000000000Z", "2026-01-02T12:59:59.000000000Z", "2026-01-03T12:00:00.000000000Z"
	for _, c := range []struct {
		h    header
		want string
	}{
		{header{Received: noon, Time: next}, "2026-01-02"},
		{header{Received: next, Time: noon}, "2026-01-03"},
		{header{Received: next, Time: noon, Source: "import"}, "2026-01-02"},
		{header{Received: noon, Time: later, Source: "import"}, "2026-01-02"},
		{header{Received: noon, Time: next, Source: "import"}, "2026-01-02"},
		{header{Time: next}, "2026-01-03"},
		{header{}, "0001-01-01"},
	} {
		if got := dayOf(c.h); got != c.want {
			t.Errorf("%+v: %s", c.h, got)
		}
	}
}

func TestFindingsAreBounded(t *testing.T) {
	r := &Result{}
	for range maxFindings + 7 {
		r.add(Finding{Kind: FrameDamaged})
		r.note("the same")
	}
	if len(r.Findings) != maxFindings || r.More != 7 || len(r.Notes) != 1 {
		t.Errorf("%d findings, %d more, %d notes", len(r.Findings), r.More, len(r.Notes))
	}
	r.conclude(&outside{})
	var b strings.Builder
	if err := r.WriteText(&b); err != nil || !strings.Contains(b.String(), "and 7 findings more") {
		t.Errorf("%v\n%s", err, b.String())
	}
}
