package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// past is a former release as agents may have it, with the frames that bring the present one from there. Both are made when the first agent
// needs them. It is kept in memory: after a restart an agent gets changed parts whole until the policy has changed again.
type past struct {
	manifest protocol.Manifest
	parts    map[[sha256.Size]byte][]byte
	changed  func() []byte // frame with the small parts that changed
	patched  func() []byte // the same with patches in place of parts
}

// Bounds of what is kept of former releases.
const (
	maxPast      = 8
	maxPastBytes = 16 << 20
)

// asPast returns what a release leaves to the next: itself and those before it, as many as may be kept.
func (r *release) asPast() []past {
	all := append([]past{{manifest: r.manifest, parts: r.parts}}, r.past...)
	held, size := map[[sha256.Size]byte]bool{}, 0
	for i, p := range all {
		for sum, b := range p.parts {
			if !held[sum] {
				held[sum] = true
				size += len(b)
			}
		}
		if i > 0 && (i >= maxPast || size > maxPastBytes) {
			return all[:i]
		}
	}
	return all
}

// prepare makes the frames of each former release such that they are made once, by the first who needs them.
func (r *release) prepare() {
	r.past = slices.Clone(r.past)
	for i := range r.past {
		p := r.past[i]
		r.past[i].changed = sync.OnceValue(func() []byte { return frameOf(r.signed, r.manifest, r.parts, p.manifest.Parts) })
		r.past[i].patched = sync.OnceValue(func() []byte { return r.patchedFrom(p) })
	}
}

// frame returns the frame for an agent that has a generation in force: patches when it takes them, the parts that changed, or everything.
func (r *release) frame(has uint64, deltas bool) []byte {
	i := slices.IndexFunc(r.past, func(p past) bool { return p.manifest.Generation == has })
	switch {
	case i < 0:
		return r.full
	case deltas:
		return r.past[i].patched()
	}
	return r.past[i].changed()
}

// patchedFrom makes the frame with patches of the parts that changed. A part whose patch is not much smaller goes whole.
func (r *release) patchedFrom(p past) []byte {
	var patches []protocol.Patch
	has := slices.Clone(p.manifest.Parts)
	for _, part := range r.manifest.Parts {
		before, ok := p.manifest.Part(part.Name)
		if !ok || before.SHA256 == part.SHA256 {
			continue
		}
		patch, err := protocol.NewPatch(p.parts[sumOf(before)], r.parts[sumOf(part)])
		if err != nil || len(patch.Bytes) > min(part.Size*3/4, protocol.MaxPatch) {
			continue
		}
		patches = append(patches, patch)
		has = append(has, part)
	}
	if len(patches) == 0 {
		return frameOf(r.signed, r.manifest, r.parts, p.manifest.Parts)
	}
	return protocol.Frame(protocol.DeltaFrame, protocol.Delta{Delivery: deliveryOf(r.signed, r.manifest, r.parts, has), Patches: patches}.Encode())
}

func sumOf(p protocol.Part) [sha256.Size]byte {
	var sum [sha256.Size]byte
	hex.Decode(sum[:], []byte(p.SHA256)) // we wrote it
	return sum
}
