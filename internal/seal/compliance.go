package seal

import (
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/chaperone-im/chaperone/internal/outside"
)

// PublicKey is a compliance key that roots are wrapped to.
type PublicKey struct{ key hpke.PublicKey }

// PrivateKey is a compliance key that unwraps roots. Only the role that reads has it.
type PrivateKey struct{ key hpke.PrivateKey }

func kem() hpke.KEM   { return hpke.MLKEM768X25519() }
func kdf() hpke.KDF   { return hpke.HKDFSHA256() }
func aead() hpke.AEAD { return hpke.ChaCha20Poly1305() }

// GenerateCompliance makes a compliance key.
func GenerateCompliance() (*PrivateKey, error) {
	k, err := kem().GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("compliance key: %w", err)
	}
	return &PrivateKey{k}, nil
}

// Public returns the public half.
func (k *PrivateKey) Public() *PublicKey { return &PublicKey{k.key.PublicKey()} }

// ID returns the first 16 hex digits of the SHA-256 of the public key.
func (k *PublicKey) ID() string {
	sum := sha256.Sum256(k.key.Bytes())
	return hex.EncodeToString(sum[:8])
}

const publicPrefix = "chaperone-compliance-1"

// String returns the key as one line of text: name of the form, id, and the key in base64.
func (k *PublicKey) String() string {
	return publicPrefix + " " + k.ID() + " " + base64.StdEncoding.EncodeToString(k.key.Bytes())
}

// ParsePublic reads what String wrote.
func ParsePublic(text string) (*PublicKey, error) {
	parts := strings.Fields(text)
	if len(parts) != 3 || parts[0] != publicPrefix {
		return nil, errors.New("seal: not a compliance public key")
	}
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, fmt.Errorf("seal: compliance public key: %w", err)
	}
	key, err := kem().NewPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("seal: compliance public key: %w", err)
	}
	k := &PublicKey{key}
	if k.ID() != parts[1] {
		return nil, errors.New("seal: the id of the compliance public key is not that of its bytes")
	}
	return k, nil
}

// keyFile is a private key under a passphrase: argon2id (RFC 9106) and ChaCha20-Poly1305.
type keyFile struct {
	Version int    `json:"v"`
	Public  string `json:"public"`
	Salt    []byte `json:"salt"`
	Nonce   []byte `json:"nonce"`
	Sealed  []byte `json:"sealed"`
}

const maxKeyFile = 64 << 10

func passphraseKey(passphrase string, salt []byte) []byte {
	return argon2.IDKey([]byte(passphrase), salt, 3, 64<<10, 2, chacha20poly1305.KeySize)
}

// Lock encrypts the private key under a passphrase, as JSON.
func (k *PrivateKey) Lock(passphrase string) ([]byte, error) {
	raw, err := k.key.Bytes()
	if err != nil {
		return nil, err
	}
	f := keyFile{Version: 1, Public: k.Public().String(), Salt: make([]byte, 16), Nonce: make([]byte, chacha20poly1305.NonceSize)}
	rand.Read(f.Salt)
	rand.Read(f.Nonce)
	c, err := chacha20poly1305.New(passphraseKey(passphrase, f.Salt))
	if err != nil {
		return nil, err
	}
	f.Sealed = c.Seal(nil, f.Nonce, raw, []byte(f.Public))
	return json.Marshal(f)
}

// UnlockKey decrypts what Lock wrote.
func UnlockKey(file []byte, passphrase string) (*PrivateKey, error) {
	var f keyFile
	if len(file) > maxKeyFile {
		return nil, errors.New("seal: key file is too large")
	}
	if err := json.Unmarshal(file, &f); err != nil {
		return nil, fmt.Errorf("seal: key file: %w", err)
	}
	if f.Version != 1 || len(f.Salt) != 16 || len(f.Nonce) != chacha20poly1305.NonceSize {
		return nil, errors.New("seal: key file of a form this program does not know")
	}
	c, err := chacha20poly1305.New(passphraseKey(passphrase, f.Salt))
	if err != nil {
		return nil, err
	}
	raw, err := c.Open(nil, f.Nonce, f.Sealed, []byte(f.Public))
	if err != nil {
		return nil, errors.New("seal: the passphrase does not open this key")
	}
	return parsePrivate(raw)
}

func parsePrivate(raw []byte) (*PrivateKey, error) {
	key, err := kem().NewPrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("seal: compliance private key: %w", err)
	}
	return &PrivateKey{key}, nil
}

// Derive returns a secret that only the private key and the salt give, for what a reading process keeps beside the records.
func (k *PrivateKey) Derive(salt []byte, purpose string, size int) ([]byte, error) {
	raw, err := k.key.Bytes()
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, raw, salt, purpose, size)
}

// Passphrase reads what an unlock reference points to: file:PATH, env:NAME or credential:NAME (a systemd credential). Relative paths
// start from dir.
func Passphrase(reference, dir string) (string, error) {
	kind, name, _ := strings.Cut(reference, ":")
	var raw []byte
	var err error
	switch kind {
	case "file":
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		raw, err = outside.ReadFile(name, maxSecret)
	case "env":
		value, ok := os.LookupEnv(name)
		if !ok {
			return "", fmt.Errorf("unlock: the environment has no %s", name)
		}
		raw = []byte(value)
	case "credential":
		raw, err = outside.ReadFile(filepath.Join(os.Getenv("CREDENTIALS_DIRECTORY"), filepath.Base(name)), maxSecret)
	default:
		return "", fmt.Errorf("unlock: %q: want file:PATH, env:NAME or credential:NAME", kind)
	}
	if err != nil {
		return "", fmt.Errorf("unlock: %w", err)
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}

// maxSecret bounds the file of a passphrase, in bytes.
const maxSecret = 64 << 10
