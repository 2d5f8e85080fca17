package verify

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// maxNote bounds a checkpoint, witnesses' signatures included.
const maxNote = 64 << 10

// checkpoint is a signed statement about the ledger: so many leaves, this root, at that time.
type checkpoint struct {
	origin string
	size   uint64
	root   hash
	time   time.Time
	raw    string

	source  string
	bundle  *bundle // nil for a bare note
	matches bool
}

// timed verifies a cosignature/v1 (C2SP tlog-cosignature) made with the ledger's own key: the signature that carries the time.
type timed struct {
	name string
	key  ed25519.PublicKey
}

func (t timed) Name() string { return t.name }

// KeyHash returns the id of the key for signatures of type 4.
func (t timed) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(t.name+"\n\x04"), t.key...))
	return binary.BigEndian.Uint32(sum[:])
}

// Verify checks the signature over the time and the note.
func (t timed) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	signed := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), msg)
	return ed25519.Verify(t.key, signed, sig[8:])
}

// errVerifierKey says that it is not the checkpoint that is wrong.
var errVerifierKey = errors.New("verifier key")

// parseCheckpoint opens a checkpoint signed by the key vkey. Both its signatures, the plain and the timed, must be good.
func parseCheckpoint(raw []byte, vkey string) (*checkpoint, error) {
	if len(raw) > maxNote {
		return nil, errors.New("checkpoint: longer than a checkpoint can be")
	}
	plain, err := note.NewVerifier(strings.TrimSpace(vkey))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errVerifierKey, err)
	}
	parts := strings.SplitN(strings.TrimSpace(vkey), "+", 3) // name+hash+data, and data may hold a plus
	encoded, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(encoded) != 1+ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: not an Ed25519 key", errVerifierKey)
	}
	withTime := timed{plain.Name(), ed25519.PublicKey(encoded[1:])}
	n, err := note.Open(raw, note.VerifierList(plain, withTime))
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	c := &checkpoint{raw: string(raw)}
	if err := c.signatures(n, plain.KeyHash(), withTime.KeyHash()); err != nil {
		return nil, err
	}
	return c, c.body(n.Text, plain.Name())
}

func (c *checkpoint) signatures(n *note.Note, plain, withTime uint32) error {
	seen := map[uint32]bool{}
	for _, s := range append(n.Sigs, n.UnverifiedSigs...) {
		raw, err := base64.StdEncoding.Strict().DecodeString(s.Base64)
		if err != nil || base64.StdEncoding.EncodeToString(raw) != s.Base64 {
			return errors.New("checkpoint: a signature that is not in its one form")
		}
	}
	for _, s := range n.Sigs {
		seen[s.Hash] = true
		if s.Hash == withTime {
			raw, _ := base64.StdEncoding.DecodeString(s.Base64)
			c.time = time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC()
		}
	}
	if !seen[plain] || !seen[withTime] {
		return errors.New("checkpoint: not signed with both signatures of the ledger's key")
	}
	return nil
}

// body reads the three lines of a checkpoint (C2SP tlog-checkpoint).
func (c *checkpoint) body(text, origin string) error {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return errors.New("checkpoint: not three lines")
	}
	if lines[0] != origin {
		return errors.New("checkpoint: of another ledger")
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return errors.New("checkpoint: no size")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(c.root) || base64.StdEncoding.EncodeToString(root) != lines[2] {
		return errors.New("checkpoint: no root")
	}
	c.origin, c.size = lines[0], size
	copy(c.root[:], root)
	return nil
}

// looksLikeNote tells a bare checkpoint from a bundle.
func looksLikeNote(b []byte) bool {
	return len(b) > 0 && b[0] != '{' && bytes.Contains(b, []byte("\n\n\u2014 "))
}
