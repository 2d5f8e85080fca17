package file

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/identity"
	"golang.org/x/crypto/chacha20poly1305"
)

// Names gives names their random ids and keeps the map in state/names.log: each entry encrypted under state/names.key, appended and synced
// before its id is used. It implements identity.Namer.
type Names struct {
	path string
	aead interface {
		NonceSize() int
		Overhead() int
		Seal(dst, nonce, plaintext, additionalData []byte) []byte
		Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
	}

	mu   sync.Mutex
	file *os.File
	size int64 // durable
	ids  map[nameKey]string
}

type nameKey struct {
	kind      identity.NameKind
	connector string
	name      string
}

type nameEntry struct {
	Kind      identity.NameKind `json:"k"`
	Connector string            `json:"c,omitempty"`
	Name      []byte            `json:"n"`
	ID        string            `json:"i"`
}

const (
	maxName  = 4 << 10
	maxEntry = 16 << 10
)

// OpenNames opens or creates the map in dir/state.
func OpenNames(dir string) (*Names, error) {
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, fmt.Errorf("open names: %w", err)
	}
	key, err := LoadOrCreateSecret(filepath.Join(state, "names.key"), chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("open names: %w", err)
	}
	n := &Names{path: filepath.Join(state, "names.log"), ids: map[nameKey]string{}}
	if n.aead, err = chacha20poly1305.NewX(key); err != nil {
		return nil, err
	}
	if n.file, err = os.OpenFile(n.path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("open names: %w", err)
	}
	if err := n.load(); err != nil {
		n.file.Close()
		return nil, fmt.Errorf("open names: %w", err)
	}
	return n, nil
}

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
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(key)
	if err := errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path))); err != nil {
		return nil, err
	}
	return key, nil
}

// load reads all entries; a torn last one is cut off: its id was never used.
func (n *Names) load() error {
	raw, err := io.ReadAll(n.file)
	if err != nil {
		return err
	}
	for len(raw) >= 4 {
		size := int(binary.BigEndian.Uint32(raw))
		if size > maxEntry {
			return errors.New("an entry passes the limit")
		}
		if len(raw)-4 < size {
			break
		}
		e, err := n.open(raw[4 : 4+size])
		if err != nil {
			if len(raw)-4 == size {
				break // the last one, half written
			}
			return err
		}
		n.ids[nameKey{e.Kind, e.Connector, string(e.Name)}] = e.ID
		n.size += int64(4 + size)
		raw = raw[4+size:]
	}
	return errors.Join(n.file.Truncate(n.size), n.file.Sync())
}

func (n *Names) open(b []byte) (nameEntry, error) {
	var e nameEntry
	if len(b) < n.aead.NonceSize() {
		return e, errors.New("an entry is too short")
	}
	plain, err := n.aead.Open(nil, b[:n.aead.NonceSize()], b[n.aead.NonceSize():], nil)
	if err != nil {
		return e, errors.New("an entry was changed, or is under another key")
	}
	return e, json.Unmarshal(plain, &e)
}

func (n *Names) seal(e nameEntry) ([]byte, error) {
	plain, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 4+n.aead.NonceSize(), 4+n.aead.NonceSize()+len(plain)+n.aead.Overhead())
	rand.Read(b[4:])
	b = n.aead.Seal(b, b[4:4+n.aead.NonceSize()], plain, nil)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b, nil
}

// ID implements identity.Namer.
func (n *Names) ID(ctx context.Context, kind identity.NameKind, connector, name string) (string, error) {
	if len(name) > maxName || len(connector) > maxName {
		return "", fmt.Errorf("names: a name of %d bytes is too long", len(name))
	}
	key := nameKey{kind, connector, name}
	n.mu.Lock()
	defer n.mu.Unlock()
	if id, ok := n.ids[key]; ok {
		return id, nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	id := event.RandomID()
	b, err := n.seal(nameEntry{kind, connector, []byte(name), id})
	if err != nil {
		return "", err
	}
	if _, err = n.file.WriteAt(b, n.size); err == nil {
		err = n.file.Sync()
	}
	if err != nil {
		n.file.Truncate(n.size)
		return "", fmt.Errorf("names: %w", err)
	}
	n.size += int64(len(b))
	n.ids[key] = id
	return id, nil
}

// Forget deletes a name's entry: its random id then says nothing. The file is written anew.
func (n *Names) Forget(kind identity.NameKind, connector, name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := nameKey{kind, connector, name}
	if _, ok := n.ids[key]; !ok {
		return nil
	}
	var b bytes.Buffer
	for k, id := range n.ids {
		if k == key {
			continue
		}
		e, err := n.seal(nameEntry{k.kind, k.connector, []byte(k.name), id})
		if err != nil {
			return err
		}
		b.Write(e)
	}
	f, err := os.CreateTemp(filepath.Dir(n.path), ".names-")
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	if err := errors.Join(err, f.Sync(), os.Rename(f.Name(), n.path), syncDir(filepath.Dir(n.path))); err != nil {
		f.Close()
		os.Remove(f.Name())
		return fmt.Errorf("names: %w", err)
	}
	n.file.Close()
	n.file, n.size = f, int64(b.Len())
	delete(n.ids, key)
	return nil
}

// Close closes the file.
func (n *Names) Close() error { return n.file.Close() }
