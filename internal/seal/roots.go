package seal

import (
	"crypto/hpke"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/durable"
)

const (
	rootIDSize  = 16
	maxRootFile = 64 << 20
	maxNodes    = 200_000 // of a root: wrapped to several keys, in base64, they fit in maxRootFile
)

type rootID [rootIDSize]byte

func (id rootID) String() string { return hex.EncodeToString(id[:]) }

// rootFile is a root as it lies in keys/roots: the nodes that can still be derived, wrapped to each compliance key.
type rootFile struct {
	Version int               `json:"v"`
	ID      string            `json:"id"`
	Made    time.Time         `json:"made"`
	Wrapped map[string][]byte `json:"wrapped"` // by id of the compliance key
}

func rootInfo(id rootID) []byte { return []byte("chaperone root 1 " + id.String()) }

func rootPath(dir string, id rootID) string {
	return filepath.Join(dir, "roots", id.String()+".json")
}

// writeRoot makes a root durable: a record under it can be read as long as this file is there.
func writeRoot(dir string, id rootID, made time.Time, nodes cover, keys []*PublicKey) error {
	f := rootFile{Version: 1, ID: id.String(), Made: made, Wrapped: map[string][]byte{}}
	plain := nodes.encode()
	for _, k := range keys {
		wrapped, err := hpke.Seal(k.key, kdf(), aead(), rootInfo(id), plain)
		if err != nil {
			return fmt.Errorf("wrap root: %w", err)
		}
		f.Wrapped[k.ID()] = wrapped
	}
	clear(plain)
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if len(raw) > maxRootFile {
		return fmt.Errorf("root %s is wrapped to more keys than fit in its file", id)
	}
	return replaceDurably(rootPath(dir, id), raw)
}

// RootOf returns the id of the root that sealed bytes are under.
func RootOf(sealed []byte) (string, error) {
	id, _, err := parseSealed(sealed)
	return id.String(), err
}

// CheckRoot says whether the file of a root is there and whole, as far as can be told without a key. It returns ErrRootLost when it is not.
func CheckRoot(dir, id string) error {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != rootIDSize {
		return fmt.Errorf("seal: %q is no id of a root", id)
	}
	_, err = loadRoot(dir, rootID(raw))
	return err
}

// SealedFor reports whether a key can open the roots in dir, as their files say. known is false where there is none to ask.
func SealedFor(dir string, key *PublicKey) (opens, known bool, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, "roots"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, false, err
	}
	for _, e := range entries {
		raw, err := hex.DecodeString(strings.TrimSuffix(e.Name(), ".json"))
		if err != nil || len(raw) != rootIDSize {
			continue
		}
		f, err := loadRoot(dir, rootID(raw))
		if err != nil {
			continue // another one may be whole
		}
		_, opens := f.Wrapped[key.ID()]
		return opens, true, nil
	}
	return false, false, nil
}

func loadRoot(dir string, id rootID) (f rootFile, err error) {
	file, err := os.Open(rootPath(dir, id))
	if errors.Is(err, os.ErrNotExist) {
		return f, fmt.Errorf("%w: root %s is not in the keys folder", ErrRootLost, id)
	}
	if err != nil {
		return f, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxRootFile))
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, fmt.Errorf("%w: root %s is damaged: %w", ErrRootLost, id, err)
	}
	return f, nil
}

func readRoot(dir string, id rootID, key *PrivateKey) (cover, time.Time, error) {
	f, err := loadRoot(dir, id)
	if err != nil {
		return nil, time.Time{}, err
	}
	wrapped, ok := f.Wrapped[key.Public().ID()]
	if !ok || f.ID != id.String() {
		return nil, time.Time{}, fmt.Errorf("%w: root %s is wrapped to other keys", ErrNoKey, id)
	}
	plain, err := hpke.Open(key.key, kdf(), aead(), rootInfo(id), wrapped)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("unwrap root %s: %w", id, err)
	}
	defer clear(plain)
	nodes, err := decodeCover(plain)
	return nodes, f.Made, err
}

// replaceDurably writes a file over the old one's bytes.
func replaceDurably(path string, raw []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.Overwrite(path, raw, 0o600)
}
