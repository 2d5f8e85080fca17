package protocol_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// rules is a policy of n rules, of which one is another.
func rules(n, other int) []byte {
	var b strings.Builder
	for i := range n {
		rule := fmt.Sprintf("host%d.example.org", i)
		if i == other {
			rule = "other.example.net"
		}
		fmt.Fprintf(&b, "  - {id: rule-%d, names: [%q], verdict: block, say: \"No %x\"}\n", i, rule, i*i*977)
	}
	return []byte(b.String())
}

func TestPatch(t *testing.T) {
	large := rules(3000, -1)
	for name, c := range map[string]struct {
		before, after []byte
		most          int
	}{
		"one rule of three thousand": {large, rules(3000, 1500), 300},
		"nothing changed":            {large, large, 200},
		"all is new":                 {[]byte("version: 1\n"), large, len(large) / 2},
		"from nothing":               {nil, []byte("version: 1\n"), 100},
		"to nothing":                 {large, nil, 100},
	} {
		p, err := protocol.NewPatch(c.before, c.after)
		if err != nil || len(p.Bytes) > c.most {
			t.Errorf("%s: %d bytes, %v", name, len(p.Bytes), err)
			continue
		}
		got, err := p.Apply(c.before, protocol.PartOf(protocol.PolicyPart, c.after))
		if err != nil || !bytes.Equal(got, c.after) {
			t.Errorf("%s: %d bytes came of it, want %d: %v", name, len(got), len(c.after), err)
		}
	}
}

// TestPatchMakesWhatIsNamedOrNothing: of another former part, of bytes that were changed, for another target, and when it would grow beyond it.
func TestPatchMakesWhatIsNamedOrNothing(t *testing.T) {
	before, after := rules(500, -1), rules(500, 7)
	p, err := protocol.NewPatch(before, after)
	if err != nil {
		t.Fatal(err)
	}
	want := protocol.PartOf(protocol.PolicyPart, after)
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := protocol.Patch{Bytes: e.EncodeAll(make([]byte, 64<<20), nil)}
	changed := p
	changed.Bytes = bytes.Clone(p.Bytes)
	changed.Bytes[len(changed.Bytes)-3] ^= 0x40
	for name, apply := range map[string]func() ([]byte, error){
		"another former part": func() ([]byte, error) { return p.Apply(rules(500, 3), want) },
		"no former part":      func() ([]byte, error) { return p.Apply(nil, want) },
		"another target":      func() ([]byte, error) { return p.Apply(before, protocol.PartOf(protocol.PolicyPart, before)) },
		"a smaller target": func() ([]byte, error) {
			return p.Apply(before, protocol.Part{Name: want.Name, Size: want.Size - 1, SHA256: want.SHA256})
		},
		"changed bytes": func() ([]byte, error) { return changed.Apply(before, want) },
		"a bomb":        func() ([]byte, error) { return bomb.Apply(before, want) },
		"no patch":      func() ([]byte, error) { return protocol.Patch{Bytes: []byte("x")}.Apply(before, want) },
		"an empty one":  func() ([]byte, error) { return protocol.Patch{}.Apply(before, want) },
	} {
		if got, err := apply(); !errors.Is(err, protocol.ErrMalformed) || got != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// FuzzPatch: whatever comes is decompressed within the bounds of its target, and taken only when it is that.
func FuzzPatch(f *testing.F) {
	before, after := rules(20, -1), rules(20, 7)
	p, err := protocol.NewPatch(before, after)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Bytes)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0xff})
	want := protocol.PartOf(protocol.PolicyPart, after)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := protocol.Patch{Bytes: b}.Apply(before, want)
		if err == nil && !bytes.Equal(got, after) || err != nil && got != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func BenchmarkPatch(b *testing.B) {
	before, after := rules(3000, -1), rules(3000, 1500)
	for b.Loop() {
		if _, err := protocol.NewPatch(before, after); err != nil {
			b.Fatal(err)
		}
	}
}
