package protocol

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Patch brings a part from a former one: what is new in it, compressed with the former as dictionary (as `zstd --patch-from` does, RFC 8878).
// Nothing vouches for a patch but what comes of it: the digest in the signed manifest.
type Patch struct {
	Base, Target [sha256.Size]byte
	Bytes        []byte
}

// dictionary is the id that patches give the former part.
const dictionary = 1

// Bounds of patches: an agent keeps what it decompresses in memory.
const (
	MaxPatch   = MaxInline
	maxPatches = maxParts
	minWindow  = 1 << 16
	maxWindow  = 4 * MaxPart
)

// NewPatch returns the patch that makes after of before.
func NewPatch(before, after []byte) (Patch, error) {
	window := 1 << bits.Len(uint(len(before)+len(after)))
	e, err := zstd.NewWriter(nil, zstd.WithEncoderDictRaw(dictionary, before), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(max(window, minWindow)), zstd.WithEncoderCRC(false))
	if err != nil {
		return Patch{}, fmt.Errorf("patch: %w", err)
	}
	return Patch{sha256.Sum256(before), sha256.Sum256(after), e.EncodeAll(after, nil)}, e.Close()
}

// Apply returns what the patch makes of the former part, when it is the part that it is to be.
func (p Patch) Apply(before []byte, want Part) ([]byte, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderDictRaw(dictionary, before), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	defer d.Close()
	after, err := d.DecodeAll(p.Bytes, make([]byte, 0, want.Size+1)) // its room is the limit
	if err != nil {
		return nil, fmt.Errorf("%w: patch: %w", ErrMalformed, err)
	}
	if PartOf(want.Name, after) != want {
		return nil, fmt.Errorf("%w: a patch makes another part than the manifest names", ErrMalformed)
	}
	return after, nil
}

// Delta is the payload of a DeltaFrame: a delivery in which some parts come as patches of those that the agent has.
type Delta struct {
	Delivery
	Patches []Patch
}

// Encode returns the payload.
func (d Delta) Encode() []byte {
	b := appendBytes(nil, d.Delivery.Encode())
	b = append(b, byte(len(d.Patches)))
	for _, p := range d.Patches {
		b = appendBytes(slices.Concat(b, p.Base[:], p.Target[:]), p.Bytes)
	}
	return b
}

// ParseDelta decodes what Encode wrote.
func ParseDelta(b []byte) (Delta, error) {
	d := decoder{b: b}
	whole := d.bytes(maxBundle)
	n := d.one()
	if n > maxPatches {
		d.fail()
	}
	var out Delta
	for range n {
		if d.bad {
			break
		}
		var p Patch
		copy(p.Base[:], d.take(sha256.Size))
		copy(p.Target[:], d.take(sha256.Size))
		p.Bytes = d.bytes(MaxPatch)
		out.Patches = append(out.Patches, p)
	}
	if err := d.done("delta"); err != nil {
		return out, err
	}
	var err error
	out.Delivery, err = ParseDelivery(whole)
	return out, err
}
