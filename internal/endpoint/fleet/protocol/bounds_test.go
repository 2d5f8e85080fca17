package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// head is the beginning of a frame that says how long it is.
func head(k protocol.Kind, n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{byte(k)}, n)
}

// TestEveryKindHasItsLimit: a frame of each kind may be as long as its kind says and not a byte longer, which is known before any of it is read.
func TestEveryKindHasItsLimit(t *testing.T) {
	known := 0
	for c := range byte(255) {
		k := protocol.Kind(c)
		limit, ok := k.Limit()
		if !ok {
			if _, _, err := protocol.Header(bytes.NewReader(head(k, 0))); !errors.Is(err, protocol.ErrMalformed) {
				t.Errorf("unknown kind %q: %v", c, err)
			}
			continue
		}
		known++
		if got, n, err := protocol.Header(bytes.NewReader(head(k, uint32(limit)))); err != nil || got != k || n != limit {
			t.Errorf("kind %q of %d bytes: %d, %v", c, limit, n, err)
		}
		if _, _, err := protocol.Header(bytes.NewReader(head(k, uint32(limit)+1))); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("kind %q of %d bytes: %v", c, limit+1, err)
		}
		whole := protocol.Frame(k, bytes.Repeat([]byte("x"), limit))
		if got, payload, err := protocol.Read(bytes.NewReader(whole)); err != nil || got != k || len(payload) != limit {
			t.Errorf("kind %q: %d bytes, %v", c, len(payload), err)
		}
		for _, cut := range []int{1, 4, len(whole) - 1} {
			if cut >= len(whole) {
				continue
			}
			if _, _, err := protocol.Read(bytes.NewReader(whole[:cut])); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				t.Errorf("kind %q cut after %d bytes: %v", c, cut, err)
			}
		}
	}
	if known != 17 {
		t.Errorf("%d kinds are known", known)
	}
	if _, _, err := protocol.Read(bytes.NewReader(nil)); !errors.Is(err, io.EOF) {
		t.Errorf("the end between two frames: %v", err)
	}
}

// TestPayloadsCutAnywhere: of what has a length of its own no part is taken for the whole, and nothing may follow it.
func TestPayloadsCutAnywhere(t *testing.T) {
	signer, _ := keys(t)
	signed, err := protocol.Sign(manifest(), signer)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		payload []byte
		parse   func(b []byte) error
	}{
		"items": {protocol.Items{First: 300, List: []protocol.Item{{Kind: protocol.RequestItem, Body: []byte("{}")}, {Kind: protocol.ReportItem, Body: []byte("abc")}}}.Append(nil),
			func(b []byte) error { return second(protocol.ParseItems(b)) }},
		"delivery": {protocol.Delivery{Note: signed, Parts: [][]byte{[]byte("{}"), []byte("policy")}}.Encode(), func(b []byte) error { return second(protocol.ParseDelivery(b)) }},
		"delta":    {protocol.Delta{Delivery: protocol.Delivery{Note: signed, Parts: [][]byte{[]byte("{}")}}, Patches: []protocol.Patch{{Bytes: []byte("patch")}, {}}}.Encode(), func(b []byte) error { return second(protocol.ParseDelta(b)) }},
		"get":      {protocol.Get{Offset: 1 << 40}.Encode(), func(b []byte) error { return second(protocol.ParseGet(b)) }},
		"piece":    {protocol.Piece{Get: protocol.Get{Offset: 7}, Bytes: []byte("piece")}.Encode(), func(b []byte) error { return second(protocol.ParsePiece(b)) }},
		"ack":      {protocol.AckNumber(1 << 40), func(b []byte) error { return second(protocol.ParseAck(b)) }},
	} {
		if err := c.parse(c.payload); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for n := range c.payload {
			if err := c.parse(c.payload[:n]); !errors.Is(err, protocol.ErrMalformed) {
				t.Errorf("%s cut after %d of %d bytes: %v", name, n, len(c.payload), err)
			}
		}
		if err := c.parse(append(bytes.Clone(c.payload), 0)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s with a byte behind it: %v", name, err)
		}
	}
}

// TestNumbersPromiseNothing: a count or a length that says more than there is, or than may be, is refused before anything is reserved for it.
func TestNumbersPromiseNothing(t *testing.T) {
	n := func(values ...uint64) (b []byte) {
		for _, v := range values {
			b = binary.AppendUvarint(b, v)
		}
		return b
	}
	many := n(1, 1025)
	for range 1025 {
		many = append(many, byte(protocol.EventItem), 0)
	}
	parts := n(0, 9)
	for range 9 {
		parts = append(parts, 0)
	}
	endless := bytes.Repeat([]byte{0xff}, 11)
	for name, err := range map[string]error{
		"many items":      second(protocol.ParseItems(many)),
		"promised items":  second(protocol.ParseItems(n(1, 1<<40))),
		"a late number":   second(protocol.ParseItems(append(n(1<<62+1, 1), byte(protocol.EventItem), 0))),
		"a long item":     second(protocol.ParseItems(append(append(n(1, 1), byte(protocol.EventItem)), n(protocol.MaxItem+1)...))),
		"a long number":   second(protocol.ParseItems(endless)),
		"many parts":      second(protocol.ParseDelivery(parts)),
		"promised parts":  second(protocol.ParseDelivery(n(0, 1<<60))),
		"a long manifest": second(protocol.ParseDelivery(append(n(4097), make([]byte, 4098)...))),
		"a long part":     second(protocol.ParseDelivery(append(n(0, 1, protocol.MaxInline+1), make([]byte, protocol.MaxInline+1)...))),
		"many patches":    second(protocol.ParseDelta(append(append(n(2, 0, 0), 9), make([]byte, 9*65)...))),
		"a long patch":    second(protocol.ParseDelta(append(append(append(n(2, 0, 0), 1), make([]byte, 64)...), n(protocol.MaxPatch+1)...))),
		"a long piece":    second(protocol.ParsePiece(append(make([]byte, 33), n(protocol.MaxPiece+1)...))),
		"an endless ack":  second(protocol.ParseAck(endless)),
		"no event":        second(protocol.DecodeEvent(n(1 << 40))),
		"half an event":   second(protocol.DecodeEvent(append(n(2), "{}"...))),
	} {
		if !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestJSONIsBounded: in depth, in lists and in texts.
func TestJSONIsBounded(t *testing.T) {
	list := func(n int, item string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	long := `"` + strings.Repeat("x", 4097) + `"`
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	order := `{"id":"1","action":"remove"}`
	approval := `{"id":"1","app":"x","until":"2030-01-01T00:00:00Z"}`
	for name, c := range map[string]struct {
		good, bad string
		decode    func(b []byte) error
	}{
		"depth":          {`{"programs":[]}`, `{"more":` + deep + `}`, func(b []byte) error { return second(protocol.Decode[protocol.Inventory](b)) }},
		"programs":       {`{"programs":` + list(1000, "{}") + `}`, `{"programs":` + list(1001, "{}") + `}`, func(b []byte) error { return second(protocol.Decode[protocol.Inventory](b)) }},
		"paths":          {`{"paths":` + list(64, `"/"`) + `}`, `{"paths":` + list(65, `"/"`) + `}`, func(b []byte) error { return second(protocol.Decode[protocol.Inventory](b)) }},
		"a path":         {`{"programs":[{"path":"/"}]}`, `{"programs":[{"path":` + long + `}]}`, func(b []byte) error { return second(protocol.Decode[protocol.Inventory](b)) }},
		"outcomes":       {`{"outcomes":` + list(1000, "{}") + `}`, `{"outcomes":` + list(1001, "{}") + `}`, func(b []byte) error { return second(protocol.Decode[protocol.Report](b)) }},
		"an undo":        {`{"outcomes":[{"undo":"x"}]}`, `{"outcomes":[{"undo":` + long + `}]}`, func(b []byte) error { return second(protocol.Decode[protocol.Report](b)) }},
		"a request":      {`{"id":"1","sha256":"x"}`, `{"id":"","sha256":"x"}`, func(b []byte) error { return second(protocol.Decode[protocol.Request](b)) }},
		"a reason":       {`{"id":"1","app":"x"}`, `{"id":"1","app":"x","reason":` + long + `}`, func(b []byte) error { return second(protocol.Decode[protocol.Request](b)) }},
		"addresses":      {`{"protocol":1,"addresses":` + list(64, `""`) + `}`, `{"protocol":1,"addresses":` + list(65, `""`) + `}`, func(b []byte) error { return second(protocol.Decode[protocol.Hello](b)) }},
		"a secret":       {`{"protocol":1,"secret":"AAAA"}`, `{"protocol":1,"secret":"` + strings.Repeat("A", 88) + `"}`, func(b []byte) error { return second(protocol.Decode[protocol.Enrol](b)) }},
		"an error":       {`{"error":"x"}`, `{"error":` + long + `}`, func(b []byte) error { return second(protocol.Decode[protocol.Applied](b)) }},
		"orders":         {`{"orders":` + list(100, order) + `}`, `{"orders":` + list(101, order) + `}`, func(b []byte) error { return second(protocol.Decode[protocol.Overlay](b)) }},
		"files of order": {`{"orders":[{"id":"1","action":"restore","items":` + list(1000, "{}") + `}]}`, `{"orders":[{"id":"1","action":"restore","items":` + list(1001, "{}") + `}]}`, func(b []byte) error { return second(protocol.Decode[protocol.Overlay](b)) }},
		"a nameless one": {`{"orders":[` + order + `]}`, `{"orders":[{"action":"remove"}]}`, func(b []byte) error { return second(protocol.Decode[protocol.Overlay](b)) }},
		"approvals":      {`{"approvals":` + list(1000, approval) + `}`, `{"approvals":` + list(1001, approval) + `}`, func(b []byte) error { return second(protocol.Decode[protocol.Overlay](b)) }},
		"groups":         {`{"groups":` + list(64, `"g"`) + `}`, `{"groups":` + list(65, `"g"`) + `}`, func(b []byte) error { return second(protocol.Decode[protocol.Overlay](b)) }},
	} {
		if err := c.decode([]byte(c.good)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.decode([]byte(c.bad)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s beyond its bound: %v", name, err)
		}
	}
	r := protocol.Report{Outcomes: []protocol.Outcome{{}, {Error: "busy"}, {Error: "gone"}}}
	if r.Failed() != 2 {
		t.Errorf("%d failed", r.Failed())
	}
}

// TestManifestHasOneForm: also what the right key signed is refused when it is no manifest, or one in another form.
func TestManifestHasOneForm(t *testing.T) {
	signer, verifier := keys(t)
	const good = "chaperone fleet manifest/1\nfleet f\nscope fleet\ngeneration 7\ncreated 2026-11-26T00:00:00Z\n"
	sum := strings.Repeat("ab", 32)
	many := good
	for i := range 9 {
		many += fmt.Sprintf("part p%d 1 %s\n", i, sum)
	}
	for name, text := range map[string]string{
		"another version":   strings.Replace(good, "manifest/1", "manifest/2", 1),
		"generation zero":   strings.Replace(good, "generation 7", "generation 0", 1),
		"a zero before":     strings.Replace(good, "generation 7", "generation 07", 1),
		"a negative one":    strings.Replace(good, "generation 7", "generation -7", 1),
		"beyond all":        strings.Replace(good, "generation 7", "generation 4611686018427387904", 1),
		"no scope":          strings.Replace(good, "scope fleet\n", "", 1),
		"an empty host":     strings.Replace(good, "scope fleet", "scope host ", 1),
		"another zone":      strings.Replace(good, "00:00:00Z", "01:00:00+01:00", 1),
		"another order":     "chaperone fleet manifest/1\nscope fleet\nfleet f\ngeneration 7\ncreated 2026-11-26T00:00:00Z\n",
		"an unknown line":   good + "else x 1 " + sum + "\n",
		"a size of letters": good + "part policy x " + sum + "\n",
		"large letters":     good + "part policy 1 " + strings.ToUpper(sum) + "\n",
		"the same twice":    good + "part policy 1 " + sum + "\npart policy 1 " + sum + "\n",
		"many parts":        many,
	} {
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := protocol.Open(signed, verifier); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	signed, err := note.Sign(&note.Note{Text: good}, signer)
	if err != nil {
		t.Fatal(err)
	}
	m, err := protocol.Open(signed, verifier)
	if err != nil || m.Generation != 7 || !m.Created.Equal(time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v, %v", m, err)
	}
	if _, ok := m.Part(protocol.PolicyPart); ok {
		t.Error("it has a part that it does not name")
	}
	if _, err := protocol.Open(append(signed, make([]byte, 4096)...), verifier); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("a long one: %v", err)
	}
}
