package seal

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"
	"golang.org/x/crypto/chacha20poly1305"
)

// recoveryFile is the private key under a key that only enough shares give back.
type recoveryFile struct {
	Version int    `json:"v"`
	Public  string `json:"public"`
	Needed  int    `json:"needed"`
	Sealed  []byte `json:"sealed"`
}

const sharePrefix = "chaperone-share-1"

func shareGroup() group.Group { return group.P256 }

// Split makes a recovery file and n shares, any k of which open it (Shamir 1979, over the scalars of P-256). A share is a line of text
// that can be printed and typed.
func (k *PrivateKey) Split(n, needed int) (file []byte, shares []string, err error) {
	if needed < 2 || n < needed || n > 20 {
		return nil, nil, errors.New("recovery shares: want 2 <= needed <= shares <= 20")
	}
	raw, err := k.key.Bytes()
	if err != nil {
		return nil, nil, err
	}
	secret := shareGroup().RandomNonZeroScalar(rand.Reader)
	f := recoveryFile{Version: 1, Public: k.Public().String(), Needed: needed}
	c, err := recoveryCipher(secret)
	if err != nil {
		return nil, nil, err
	}
	var nonce [chacha20poly1305.NonceSize]byte // the key is made for this one message
	f.Sealed = c.Seal(nil, nonce[:], raw, []byte(f.Public))
	if file, err = json.Marshal(f); err != nil {
		return nil, nil, err
	}
	for i, s := range secretsharing.New(rand.Reader, uint(needed-1), secret).Share(uint(n)) {
		line, err := formatShare(k.Public().ID(), i+1, s)
		if err != nil {
			return nil, nil, err
		}
		shares = append(shares, line)
	}
	return file, shares, nil
}

type sealingCipher interface {
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
}

func recoveryCipher(secret group.Scalar) (sealingCipher, error) {
	raw, err := secret.MarshalBinary()
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, raw, nil, "chaperone recovery 1", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.New(key)
}

func formatShare(id string, number int, s secretsharing.Share) (string, error) {
	value, err := s.Value.MarshalBinary()
	if err != nil {
		return "", err
	}
	body := fmt.Sprintf("%s %s %d %s", sharePrefix, id, number, base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(value))
	return fmt.Sprintf("%s %08x", body, crc32.ChecksumIEEE([]byte(body))), nil
}

func parseShare(line string) (id string, s secretsharing.Share, err error) {
	parts := strings.Fields(line)
	if len(parts) != 5 || parts[0] != sharePrefix {
		return "", s, errors.New("not a recovery share")
	}
	if want := fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(strings.Join(parts[:4], " ")))); parts[4] != want {
		return "", s, errors.New("a recovery share was mistyped: its check digits do not fit")
	}
	number, err := strconv.ParseUint(parts[2], 10, 8)
	if err != nil || number == 0 {
		return "", s, errors.New("a recovery share has a bad number")
	}
	value, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(parts[3])
	if err != nil {
		return "", s, fmt.Errorf("recovery share: %w", err)
	}
	s.ID = shareGroup().NewScalar().SetUint64(number)
	s.Value = shareGroup().NewScalar()
	if err := s.Value.UnmarshalBinary(value); err != nil {
		return "", s, fmt.Errorf("recovery share: %w", err)
	}
	return parts[1], s, nil
}

// Recover gives the private key back, from a recovery file and enough of its shares. It is also the drill that proves that they do.
func Recover(file []byte, lines []string) (*PrivateKey, error) {
	var f recoveryFile
	if len(file) > maxKeyFile {
		return nil, errors.New("seal: recovery file is too large")
	}
	if err := json.Unmarshal(file, &f); err != nil {
		return nil, fmt.Errorf("seal: recovery file: %w", err)
	}
	public, err := ParsePublic(f.Public)
	if err != nil {
		return nil, err
	}
	var shares []secretsharing.Share
	seen := map[string]bool{} // by the share's line, less its spaces
	for _, line := range lines {
		id, s, err := parseShare(line)
		if err != nil {
			return nil, err
		}
		if id != public.ID() {
			return nil, fmt.Errorf("a recovery share is of key %s, the file of %s", id, public.ID())
		}
		if line := strings.Join(strings.Fields(line), " "); !seen[line] {
			seen[line] = true
			shares = append(shares, s)
		}
	}
	if f.Needed < 2 || len(shares) < f.Needed {
		return nil, fmt.Errorf("%d different shares were given, %d are needed", len(shares), f.Needed)
	}
	secret, err := secretsharing.Recover(uint(f.Needed-1), shares)
	if err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	c, err := recoveryCipher(secret)
	if err != nil {
		return nil, err
	}
	var nonce [chacha20poly1305.NonceSize]byte
	raw, err := c.Open(nil, nonce[:], f.Sealed, []byte(f.Public))
	if err != nil {
		return nil, errors.New("the shares do not open the recovery file")
	}
	return parsePrivate(raw)
}
