package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// release is what all agents are to have, signed, in the frames that bring it.
type release struct {
	version  string // of the source it was made from
	at       time.Time
	manifest protocol.Manifest
	parts    map[[sha256.Size]byte][]byte
	signed   []byte
	full     []byte // frame with all small parts
	past     []past // what agents may have, the newest first
}

// releaseState is kept so that a restart does not make a new generation of the same.
type releaseState struct {
	Digest     string    `json:"digest"` // of the parts
	Generation uint64    `json:"generation"`
	Created    time.Time `json:"created"`
}

// maxInlined bounds the parts that go with a manifest in one frame, together.
const maxInlined = 100 << 10

// publish makes a release of the policy in force when it is another than the last.
func (s *Server) publish() error {
	version, before := s.deps.Source.Version(), s.release.Load()
	if before != nil && before.version == version {
		return nil
	}
	next, err := s.makeRelease(version, before)
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	next.at = s.deps.Clock.Now()
	s.release.Store(next)
	s.pokeAll(fleetFlag)
	return nil
}

func (s *Server) makeRelease(version string, before *release) (*release, error) {
	parts, err := s.parts()
	if err != nil {
		return nil, err
	}
	m := protocol.Manifest{Fleet: s.auth.Name(), Scope: protocol.AllHosts}
	r := &release{version: version, parts: map[[sha256.Size]byte][]byte{}}
	digest := sha256.New()
	for _, p := range parts {
		part := protocol.PartOf(p.name, p.bytes)
		m.Parts = append(m.Parts, part)
		r.parts[sha256.Sum256(p.bytes)] = p.bytes
		fmt.Fprintln(digest, part)
	}
	if m.Generation, m.Created, err = s.generation(hex.EncodeToString(digest.Sum(nil))); err != nil {
		return nil, err
	}
	r.manifest = m
	signed, err := s.auth.Sign(m)
	if err != nil {
		return nil, err
	}
	r.signed, r.full = signed, frameOf(signed, m, r.parts, nil)
	if before != nil && before.manifest.Generation != m.Generation {
		r.past = before.asPast()
	} else if before != nil {
		r.past = before.past
	}
	r.prepare()
	return r, nil
}

type namedPart struct {
	name  string
	bytes []byte
}

// parts are what all agents are to have, by name in order.
func (s *Server) parts() ([]namedPart, error) {
	catalog, err := s.deps.Source.Catalog()
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	settings, err := protocol.Encode(protocol.Settings{CatalogKeys: s.cfg.CatalogKeys, MustRun: s.cfg.MustRun})
	if err != nil {
		return nil, err
	}
	list := []namedPart{{protocol.PolicyPart, s.deps.Source.Policy()}, {protocol.SettingsPart, settings}}
	if catalog != nil {
		list = append(list, namedPart{protocol.CatalogPart, catalog})
	}
	slices.SortFunc(list, func(a, b namedPart) int { return strings.Compare(a.name, b.name) })
	for _, p := range list {
		if len(p.bytes) > protocol.MaxPart {
			return nil, fmt.Errorf("%s: %d bytes, agents take %d", p.name, len(p.bytes), protocol.MaxPart)
		}
	}
	return list, nil
}

// generation returns the number of what has that digest: the same as before, or a higher one, which is durable before anything is signed
// with it. Numbers are seconds since 1970 so that they go up even when an older state was restored from a backup.
func (s *Server) generation(digest string) (uint64, time.Time, error) {
	path := filepath.Join(s.roster.dir, "release.json")
	var state releaseState
	if err := readJSON(path, &state); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, time.Time{}, err
	}
	if state.Digest == digest {
		return state.Generation, state.Created, nil
	}
	now := s.deps.Clock.Now().Truncate(time.Second)
	state = releaseState{digest, nextGeneration(state.Generation, now), now}
	return state.Generation, state.Created, writeJSON(path, state)
}

func nextGeneration(before uint64, now time.Time) uint64 {
	return max(before+1, uint64(max(now.Unix(), 1)))
}

// frameOf makes the frame of a signed manifest with its small parts, as far as they fit, less those that the agent has.
func frameOf(signed []byte, m protocol.Manifest, parts map[[sha256.Size]byte][]byte, has []protocol.Part) []byte {
	return protocol.Frame(protocol.BundleFrame, deliveryOf(signed, m, parts, has).Encode())
}

func deliveryOf(signed []byte, m protocol.Manifest, parts map[[sha256.Size]byte][]byte, has []protocol.Part) protocol.Delivery {
	d, room := protocol.Delivery{Note: signed}, maxInlined
	for _, p := range m.Parts {
		if p.Size > protocol.MaxInline || p.Size > room || slices.ContainsFunc(has, func(h protocol.Part) bool { return h.SHA256 == p.SHA256 }) {
			continue
		}
		d.Parts = append(d.Parts, parts[sumOf(p)])
		room -= p.Size
	}
	return d
}

// Release says what agents are to have: its number, when it was made, and the version of the policy.
func (s *Server) Release() (generation uint64, created time.Time, version string) {
	r := s.release.Load()
	return r.manifest.Generation, r.manifest.Created, r.version
}
