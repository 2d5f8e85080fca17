package protocol

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// AllHosts is the scope of what holds for the whole fleet; that of one host is HostScope.
const AllHosts = "fleet"

// HostScope is the scope of what holds for one host.
func HostScope(id string) string { return "host " + id }

// Names of parts.
const (
	PolicyPart   = "policy"   // the policy file
	CatalogPart  = "catalog"  // a signed catalog bundle; without one the agent's built-in catalog is in force
	SettingsPart = "settings" // Settings
	OverlayPart  = "overlay"  // Overlay: of one host
)

// Bounds of bundles.
const (
	MaxPart     = 16 << 20
	maxParts    = 8
	maxManifest = 4 << 10
)

// Errors of bundles.
var (
	ErrUntrusted = errors.New("not signed by the key that was pinned at enrolment")
	ErrRollback  = errors.New("older than what is in force")
	ErrScope     = errors.New("for another host or fleet")
)

// Manifest is what a bundle says of itself: the whole state of one scope.
type Manifest struct {
	Fleet      string // name of the fleet
	Scope      string
	Generation uint64
	Created    time.Time
	Parts      []Part // in the order of their names
}

// Part names a part by its content.
type Part struct {
	Name   string
	Size   int
	SHA256 string // hex
}

// PartOf describes a part.
func PartOf(name string, b []byte) Part {
	sum := sha256.Sum256(b)
	return Part{name, len(b), hex.EncodeToString(sum[:])}
}

// Part returns the part with that name.
func (m Manifest) Part(name string) (Part, bool) {
	i := slices.IndexFunc(m.Parts, func(p Part) bool { return p.Name == name })
	if i < 0 {
		return Part{}, false
	}
	return m.Parts[i], true
}

const manifestHeader = "chaperone fleet manifest/1"

// text is what is signed: the one form that a manifest has.
func (m Manifest) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nfleet %s\nscope %s\ngeneration %d\ncreated %s\n", manifestHeader, m.Fleet, m.Scope, m.Generation, m.Created.UTC().Format(time.RFC3339))
	for _, p := range m.Parts {
		fmt.Fprintf(&b, "part %s %d %s\n", p.Name, p.Size, p.SHA256)
	}
	return b.String()
}

func (m Manifest) check() error {
	ok := m.Generation > 0 && m.Generation < 1<<62 && word(m.Fleet) && len(m.Parts) <= maxParts && (m.Scope == AllHosts || word(strings.TrimPrefix(m.Scope, "host ")))
	for i, p := range m.Parts {
		sum, err := hex.DecodeString(p.SHA256)
		ok = ok && err == nil && len(sum) == sha256.Size && p.SHA256 == hex.EncodeToString(sum) && p.Size >= 0 && p.Size <= MaxPart && word(p.Name) && (i == 0 || m.Parts[i-1].Name < p.Name)
	}
	if !ok {
		return fmt.Errorf("%w: manifest", ErrMalformed)
	}
	return nil
}

// word reports whether s is a name without blanks.
func word(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Sign signs a manifest and returns the note.
func Sign(m Manifest, signer note.Signer) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: m.text()}, signer)
}

// Open checks the signature of a note and returns the manifest in it.
func Open(signed []byte, verifier note.Verifier) (Manifest, error) {
	if len(signed) > maxManifest {
		return Manifest{}, fmt.Errorf("%w: a manifest of %d bytes", ErrMalformed, len(signed))
	}
	n, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return parseManifest(n.Text)
}

// parseManifest reads the text of a manifest; it takes no other form than that which text writes.
func parseManifest(text string) (Manifest, error) {
	bad := fmt.Errorf("%w: manifest", ErrMalformed)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 5 || len(lines) > 5+maxParts || lines[0] != manifestHeader {
		return Manifest{}, bad
	}
	var m Manifest
	for i, key := range []string{"fleet ", "scope ", "generation ", "created "} {
		value, ok := strings.CutPrefix(lines[i+1], key)
		if !ok || m.set(key, value) != nil {
			return Manifest{}, bad
		}
	}
	for _, line := range lines[5:] {
		f := strings.Split(line, " ")
		if len(f) != 4 || f[0] != "part" {
			return Manifest{}, bad
		}
		size, err := strconv.Atoi(f[2])
		if err != nil {
			return Manifest{}, bad
		}
		m.Parts = append(m.Parts, Part{f[1], size, f[3]})
	}
	if err := m.check(); err != nil {
		return Manifest{}, err
	}
	if m.text() != text {
		return Manifest{}, bad
	}
	return m, nil
}

func (m *Manifest) set(key, value string) (err error) {
	switch key {
	case "fleet ":
		m.Fleet = value
	case "scope ":
		m.Scope = value
	case "generation ":
		m.Generation, err = strconv.ParseUint(value, 10, 63)
	default:
		m.Created, err = time.Parse(time.RFC3339, value)
	}
	return err
}

// Delivery is the payload of a BundleFrame: a signed manifest, and the small parts that the agent may lack.
type Delivery struct {
	Note  []byte
	Parts [][]byte // found by their digest
}

// Encode returns the payload.
func (d Delivery) Encode() []byte {
	b := appendBytes(nil, d.Note)
	b = binary.AppendUvarint(b, uint64(len(d.Parts)))
	for _, p := range d.Parts {
		b = appendBytes(b, p)
	}
	return b
}

// ParseDelivery decodes what Encode wrote. The parts are proven by nobody yet: the manifest's digests do that.
func ParseDelivery(b []byte) (Delivery, error) {
	d := decoder{b: b}
	out := Delivery{Note: d.bytes(maxManifest)}
	n := d.number()
	if n > maxParts {
		d.fail()
	}
	for range n {
		if d.bad {
			break
		}
		out.Parts = append(out.Parts, d.bytes(MaxInline))
	}
	return out, d.done("bundle")
}

// Get asks for a piece of a part.
type Get struct {
	SHA256 [sha256.Size]byte
	Offset uint64
}

// Encode returns the payload.
func (g Get) Encode() []byte { return binary.AppendUvarint(slices.Clone(g.SHA256[:]), g.Offset) }

// ParseGet decodes what Encode wrote.
func ParseGet(b []byte) (Get, error) {
	d := decoder{b: b}
	var g Get
	copy(g.SHA256[:], d.take(sha256.Size))
	g.Offset = d.number()
	return g, d.done("get")
}

// Piece answers Get; an empty one says that the server has no such part any more.
type Piece struct {
	Get
	Bytes []byte
}

// Encode returns the payload.
func (p Piece) Encode() []byte { return appendBytes(p.Get.Encode(), p.Bytes) }

// ParsePiece decodes what Encode wrote.
func ParsePiece(b []byte) (Piece, error) {
	d := decoder{b: b}
	var p Piece
	copy(p.SHA256[:], d.take(sha256.Size))
	p.Offset = d.number()
	p.Bytes = d.bytes(MaxPiece)
	return p, d.done("piece")
}
