package quarantine

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// States of an item.
const (
	stateTaking = "taking" // the manifest is written, the file may not have been moved
	stateHeld   = "held"
)

const (
	manifestSuffix = ".json"
	maxManifest    = 32 << 20
)

// Item is a file in quarantine: its manifest. Field names are API.
type Item struct {
	ID         string            `json:"id"`
	State      string            `json:"state"`
	Path       string            `json:"path"`
	PathBase64 string            `json:"path_base64,omitempty"` // when the path is not UTF-8
	App        string            `json:"app"`
	Reason     string            `json:"reason,omitempty"`
	SHA256     string            `json:"sha256"`
	Size       int64             `json:"size"`
	Mode       uint32            `json:"mode"`
	UID        uint32            `json:"uid"`
	GID        uint32            `json:"gid"`
	Links      uint64            `json:"links"` // names the file had; the others still lead to it
	Accessed   int64             `json:"atime_ns"`
	Modified   int64             `json:"mtime_ns"`
	Xattrs     map[string][]byte `json:"xattrs,omitempty"`
	Owner      string            `json:"owner,omitempty"`      // on Windows, where uid, gid and mode say nothing: the security identifier
	Security   string            `json:"security,omitempty"`   // on Windows: owner, group and access list (SDDL)
	Attributes uint32            `json:"attributes,omitempty"` // on Windows
	Created    int64             `json:"created_ns,omitempty"` // on Windows
	Time       time.Time         `json:"time"`
}

// owner is whose file it was: a number, or a security identifier.
func (i *Item) owner() string {
	if i.Owner != "" {
		return i.Owner
	}
	return strconv.FormatUint(uint64(i.UID), 10)
}

func (i *Item) setPath(path string) {
	i.Path = path
	if !utf8.ValidString(path) {
		i.Path, i.PathBase64 = strings.ToValidUTF8(path, "\uFFFD"), base64.StdEncoding.EncodeToString([]byte(path))
	}
}

// RealPath returns where the file was, byte for byte.
func (i *Item) RealPath() (string, error) {
	if i.PathBase64 == "" {
		return i.Path, nil
	}
	b, err := base64.StdEncoding.DecodeString(i.PathBase64)
	if err != nil {
		return "", fmt.Errorf("quarantine: path of %s: %w", i.ID, err)
	}
	return string(b), nil
}

// ParseManifest reads a manifest.
func ParseManifest(b []byte) (Item, error) {
	var i Item
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&i); err != nil {
		return Item{}, fmt.Errorf("quarantine: manifest: %w", err)
	}
	if _, err := uuid.Parse(i.ID); err != nil || len(i.ID) != 36 {
		return Item{}, errors.New("quarantine: manifest: the id is none")
	}
	path, err := i.RealPath()
	if err != nil {
		return Item{}, err
	}
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) || i.Mode&^0o7777 != 0 {
		return Item{}, errors.New("quarantine: manifest: path or mode is impossible")
	}
	return i, nil
}

// writeManifest writes a manifest durably: beside the old one, then in its place.
func (s *Store) writeManifest(i Item) error {
	b, err := json.MarshalIndent(i, "", " ")
	if err != nil {
		return fmt.Errorf("quarantine: manifest: %w", err)
	}
	if err := s.writeFile(i.ID+manifestSuffix, b); err != nil {
		return fmt.Errorf("quarantine: manifest: %w", err)
	}
	return nil
}

func (s *Store) dropManifest(id string) error {
	if err := errors.Join(unlink(s.dir, id+manifestSuffix), syncDir(s.dir)); err != nil {
		return fmt.Errorf("quarantine: manifest: %w", err)
	}
	return nil
}

func (s *Store) readManifest(id string) (Item, error) {
	if _, err := uuid.Parse(id); err != nil || len(id) != 36 {
		return Item{}, fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	f, err := openFile(s.dir, id+manifestSuffix)
	if errors.Is(err, os.ErrNotExist) {
		return Item{}, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	if err != nil {
		return Item{}, fmt.Errorf("quarantine: manifest: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return Item{}, fmt.Errorf("quarantine: manifest: %w", err)
	}
	i, err := ParseManifest(b)
	if err == nil && i.ID != id {
		err = fmt.Errorf("quarantine: manifest of %s names another item", id)
	}
	return i, err
}

// manifests reads all manifests.
func (s *Store) manifests() ([]Item, error) {
	names, err := s.names(manifestSuffix)
	if err != nil {
		return nil, err
	}
	var out []Item
	for _, name := range names {
		i, err := s.readManifest(strings.TrimSuffix(name, manifestSuffix))
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

// names lists the files of the folder that end in suffix.
func (s *Store) names(suffix string) ([]string, error) {
	if _, err := s.dir.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("quarantine: list: %w", err)
	}
	names, err := s.dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("quarantine: list: %w", err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, suffix) })
	slices.Sort(names)
	return names, nil
}
