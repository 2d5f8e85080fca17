package file

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/identity"
)

// secretSize is the size of the key of the map of names.
const secretSize = chacha20poly1305.KeySize

// maxEntry bounds an entry: three strings of maxName, in JSON and base64, and what encryption adds.
const maxEntry = 64 << 10

// LoadOrCreateSecret reads the secret of size random bytes in a file, or makes it.
func LoadOrCreateSecret(path string, size int) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) != size {
		return nil, fmt.Errorf("%s has %d bytes, want %d", path, len(key), size)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return key, err
	}
	key = make([]byte, size)
	rand.Read(key)
	if err := durable.Place(path, key, 0o600); err != nil { // never over another one
		return nil, err
	}
	return key, nil
}

// nameEntry is one line of the map. Names may hold any bytes.
type nameEntry struct {
	Kind      identity.NameKind `json:"k"`
	Connector []byte            `json:"c,omitempty"`
	Name      []byte            `json:"n"`
	ID        string            `json:"i"`
}

// nameCodec encrypts entries: four bytes of length, then XChaCha20-Poly1305 with a random nonce before it.
type nameCodec struct{ aead cipher.AEAD }

func newNameCodec(key []byte) nameCodec {
	aead, _ := chacha20poly1305.NewX(key) // fails only for another size of key
	return nameCodec{aead}
}

func (c nameCodec) seal(k nameKey, id string) ([]byte, error) {
	plain, err := json.Marshal(nameEntry{k.kind, []byte(k.connector), []byte(k.name), id})
	if err != nil {
		return nil, err
	}
	b := make([]byte, 4+chacha20poly1305.NonceSizeX, 4+chacha20poly1305.NonceSizeX+len(plain)+c.aead.Overhead())
	rand.Read(b[4:])
	b = c.aead.Seal(b, b[4:], plain, nil)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b, nil
}

// next opens the entry that raw begins with, and returns its size.
func (c nameCodec) next(raw []byte) (nameEntry, int, error) {
	var e nameEntry
	if len(raw) < 4 {
		return e, 0, errors.New("an entry is too short")
	}
	size := int(binary.BigEndian.Uint32(raw))
	if size > maxEntry || size > len(raw)-4 || size < chacha20poly1305.NonceSizeX {
		return e, 0, errors.New("an entry has a length that does not fit")
	}
	b := raw[4 : 4+size]
	plain, err := c.aead.Open(nil, b[:chacha20poly1305.NonceSizeX], b[chacha20poly1305.NonceSizeX:], nil)
	if err != nil {
		return e, 0, errors.New("an entry was changed, or is under another key")
	}
	return e, 4 + size, json.Unmarshal(plain, &e)
}

func (c nameCodec) opensFirst(raw []byte) bool {
	_, _, err := c.next(raw)
	return err == nil
}

// load reads all entries and returns how many bytes they are. A torn last one does not count: its id was never used.
func (c nameCodec) load(raw []byte, into map[nameKey]string) (int64, error) {
	at := 0
	for at < len(raw) {
		e, size, err := c.next(raw[at:])
		if err != nil {
			if c.tornAt(raw[at:]) {
				return int64(at), nil
			}
			return 0, fmt.Errorf("byte %d: %w", at, err)
		}
		into[nameKey{e.Kind, string(e.Connector), string(e.Name)}] = e.ID
		at += size
	}
	return int64(at), nil
}

// tornAt reports whether what is left can be one entry that a crash left half written: no more than one, and no whole one among it.
func (c nameCodec) tornAt(rest []byte) bool {
	if len(rest) > 4+maxEntry || len(rest) >= 4 && binary.BigEndian.Uint32(rest) > maxEntry { // no entry of ours ever began so
		return false
	}
	for i := 1; i < len(rest); i++ {
		if c.opensFirst(rest[i:]) {
			return false
		}
	}
	return true
}
