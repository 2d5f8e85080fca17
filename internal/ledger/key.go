package ledger

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Key signs the ledger's checkpoints, each twice: a plain note signature, and a cosignature/v1 that carries the time.
type Key struct {
	plain    note.Signer
	timed    timedSigner
	verifier string
}

// Verifier returns the verifier key, in the form of golang.org/x/mod/sumdb/note.
func (k *Key) Verifier() string { return k.verifier }

// Origin returns the name of the ledger, the first line of its checkpoints.
func (k *Key) Origin() string { return k.plain.Name() }

// LoadOrCreateKey reads dir/ledger.key; when there is none it makes one for that origin and writes it (0600) and dir/ledger.pub.
func LoadOrCreateKey(dir, origin string, now func() time.Time) (*Key, error) {
	path := filepath.Join(dir, "ledger.key")
	raw, err := outside.ReadFile(path, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		raw, err = createKey(dir, path, origin)
	}
	if err != nil {
		return nil, fmt.Errorf("ledger key: %w", err)
	}
	k, err := ParseKey(strings.TrimSpace(string(raw)), now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// maxKeyFile bounds the file of a key, in bytes.
const maxKeyFile = 64 << 10

func createKey(dir, path, origin string) ([]byte, error) {
	secret, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := durable.Replace(filepath.Join(dir, "ledger.pub"), []byte(public+"\n"), 0o644); err != nil {
		return nil, err
	}
	return []byte(secret), durable.Replace(path, []byte(secret+"\n"), 0o600)
}

// Publish writes dir/ledger.pub when it is not this key's. It returns what was wrong with it, "" when it was right: without it nobody can verify.
func (k *Key) Publish(dir string) (wrong string, err error) {
	path := filepath.Join(dir, "ledger.pub")
	raw, err := outside.ReadFile(path, maxKeyFile)
	switch {
	case err == nil && strings.TrimSpace(string(raw)) == k.verifier:
		return "", nil
	case errors.Is(err, fs.ErrNotExist):
		wrong = "it was missing"
	case err != nil && !errors.Is(err, outside.ErrTooLarge):
		return "", fmt.Errorf("ledger key: %w", err)
	default:
		wrong = "it was not that of ledger.key"
	}
	if err := durable.Replace(path, []byte(k.verifier+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("ledger key: %w", err)
	}
	return wrong, nil
}

// ParseKey reads an encoded signer key ("PRIVATE+KEY+origin+hash+data"). The time of signatures is taken from now.
func ParseKey(encoded string, now func() time.Time) (*Key, error) {
	plain, err := note.NewSigner(encoded)
	if err != nil {
		return nil, fmt.Errorf("ledger key: %w", err)
	}
	parts := strings.SplitN(encoded, "+", 5) // PRIVATE+KEY+name+hash+data, and data may hold a plus
	data, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(data) != 1+ed25519.SeedSize {
		return nil, errors.New("ledger key: not an Ed25519 key")
	}
	secret := ed25519.NewKeyFromSeed(data[1:])
	public := secret.Public().(ed25519.PublicKey)
	verifier, err := note.NewEd25519VerifierKey(plain.Name(), public)
	if err != nil {
		return nil, fmt.Errorf("ledger key: %w", err)
	}
	return &Key{plain: plain, timed: timedSigner{plain.Name(), secret, now}, verifier: verifier}, nil
}

// timedSigner makes cosignature/v1 signatures (C2SP tlog-cosignature): over the time and the note.
type timedSigner struct {
	name   string
	secret ed25519.PrivateKey
	now    func() time.Time
}

// Name returns the key's name.
func (t timedSigner) Name() string { return t.name }

// KeyHash returns the id of the key for signatures of type 4.
func (t timedSigner) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(t.name+"\n\x04"), t.secret.Public().(ed25519.PublicKey)...))
	return binary.BigEndian.Uint32(sum[:])
}

// Sign signs msg with the present time in seconds.
func (t timedSigner) Sign(msg []byte) ([]byte, error) {
	seconds := uint64(t.now().Unix())
	sig := ed25519.Sign(t.secret, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", seconds, msg))
	return append(binary.BigEndian.AppendUint64(nil, seconds), sig...), nil
}

// Verify checks such a signature.
func (t timedSigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	signed := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), msg)
	return ed25519.Verify(t.secret.Public().(ed25519.PublicKey), signed, sig[8:])
}

// SignedAt returns when a checkpoint of this key was signed, by the time that its cosignature carries. Zero when it is none of this key.
func (k *Key) SignedAt(checkpoint []byte) time.Time {
	n, err := note.Open(checkpoint, note.VerifierList(k.timed))
	if err != nil {
		return time.Time{}
	}
	raw, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil || len(raw) < 12 {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC() // behind the key's id
}

// Checkpoint returns the signed checkpoint of a tree (C2SP tlog-checkpoint), as the log's driver makes it.
func (k *Key) Checkpoint(size uint64, root []byte) ([]byte, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", k.Origin(), size, base64.StdEncoding.EncodeToString(root))
	signed, err := note.Sign(&note.Note{Text: text}, k.plain, k.timed)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return signed, nil
}
