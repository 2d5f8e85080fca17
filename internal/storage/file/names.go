package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/identity"
)

// Names gives names their random ids and keeps the map in state/names.log: each entry encrypted under state/names.key, appended and synced
// before its id is used. It implements identity.Namer.
//
// Forgetting a name writes the file anew under a new key and destroys the old one, so that bytes of the old file that a disk still holds say
// nothing.
type Names struct {
	state string

	mu  sync.RWMutex
	ids map[nameKey]string

	writing sync.Mutex // held while the file changes; readers of ids do not wait for the disk
	file    *os.File
	size    int64 // durable
	codec   nameCodec
	closed  bool
}

type nameKey struct {
	kind      identity.NameKind
	connector string
	name      string
}

const (
	maxName  = 4 << 10
	maxNames = 8 << 20 // all in memory, about 200 bytes each
)

// Files of the map. Those that end in .new are there only while a name is being forgotten.
const (
	namesKey = "names.key"
	namesLog = "names.log"
	newFile  = ".new"
)

// keyLost refuses to begin with a new key while there are entries under the old one: every name would get another id, unseen.
func (n *Names) keyLost() error {
	if _, err := os.Stat(n.path(namesKey)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	info, err := os.Stat(n.path(namesLog))
	if err != nil || info.Size() == 0 {
		return nil
	}
	return fmt.Errorf("%s is missing, and %s has entries under it: restore it from the backup, or move %s away to let every name get a new id", n.path(namesKey), namesLog, namesLog)
}

// OpenNames opens or creates the map in dir/state.
func OpenNames(dir string) (*Names, error) {
	n := &Names{state: filepath.Join(dir, "state"), ids: map[nameKey]string{}}
	if err := n.open(); err != nil {
		return nil, fmt.Errorf("open names: %w", err)
	}
	return n, nil
}

func (n *Names) open() error {
	if err := os.MkdirAll(n.state, 0o700); err != nil {
		return err
	}
	if err := n.keyLost(); err != nil {
		return err
	}
	key, err := LoadOrCreateSecret(n.path(namesKey), secretSize)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(n.path(namesLog))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	n.codec = newNameCodec(key)
	if next, err := os.ReadFile(n.path(namesKey + newFile)); err == nil && len(next) == secretSize && newNameCodec(next).opensFirst(raw) {
		n.codec = newNameCodec(next) // a name was being forgotten: the file is under the new key already
		if err := n.takeKey(); err != nil {
			return err
		}
	}
	if n.size, err = n.codec.load(raw, n.ids); err != nil {
		return n.damaged(err)
	}
	if n.file, err = os.OpenFile(n.path(namesLog), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	err = errors.Join(n.file.Truncate(n.size), n.file.Sync(), removeIfThere(n.path(namesKey+newFile)), removeIfThere(n.path(namesLog+newFile)), durable.SyncDir(n.state))
	if err != nil {
		n.file.Close()
	}
	return err
}

func (n *Names) damaged(err error) error {
	return fmt.Errorf("%s is damaged: %w; restore it and %s, both of one time, from the backup, or move it away: then every name gets a new id, and contents still say who", n.path(namesLog), err, namesKey)
}

// CheckNames reads the map in dir/state and changes nothing. It returns how many names have ids.
func CheckNames(dir string) (int, error) {
	n := &Names{state: filepath.Join(dir, "state"), ids: map[nameKey]string{}}
	if err := n.keyLost(); err != nil {
		return 0, err
	}
	raw, err := os.ReadFile(n.path(namesLog))
	if err != nil || len(raw) == 0 {
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return 0, err
	}
	key, err := os.ReadFile(n.path(namesKey))
	if err != nil {
		return 0, err
	}
	if next, err := os.ReadFile(n.path(namesKey + newFile)); err == nil && len(next) == secretSize && newNameCodec(next).opensFirst(raw) {
		key = next
	}
	if len(key) != secretSize {
		return 0, fmt.Errorf("%s has %d bytes, want %d: restore it from the backup", n.path(namesKey), len(key), secretSize)
	}
	if _, err := newNameCodec(key).load(raw, n.ids); err != nil {
		return 0, n.damaged(err)
	}
	return len(n.ids), nil
}

// Len returns how many names have ids.
func (n *Names) Len() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return len(n.ids)
}

func (n *Names) path(name string) string { return filepath.Join(n.state, name) }

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// ID implements identity.Namer.
func (n *Names) ID(ctx context.Context, kind identity.NameKind, connector, name string) (string, error) {
	key := nameKey{kind, connector, name}
	if id := n.known(key); id != "" {
		return id, nil
	}
	if name == "" || len(name) > maxName || len(connector) > maxName || len(kind) > maxName {
		return "", event.Unfit(fmt.Errorf("names: a name of %d bytes cannot have an id", len(name)))
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	n.writing.Lock()
	defer n.writing.Unlock()
	if id := n.known(key); id != "" { // somebody else gave it meanwhile
		return id, nil
	}
	if n.closed {
		return "", fmt.Errorf("names: %w", os.ErrClosed)
	}
	if len(n.ids) >= maxNames {
		return "", errors.New("names: there are more names than can be kept")
	}
	id := event.RandomID()
	if err := n.append(n.codec.seal(key, id)); err != nil {
		return "", fmt.Errorf("names: %w", err)
	}
	n.mu.Lock()
	n.ids[key] = id
	n.mu.Unlock()
	return id, nil
}

// Known returns the id of a name, "" when it has none. It gives none.
func (n *Names) Known(kind identity.NameKind, connector, name string) string {
	return n.known(nameKey{kind, connector, name})
}

func (n *Names) known(key nameKey) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.ids[key]
}

// append makes an entry durable. What a failure leaves behind is overwritten by the next entry, or cut off at the next start.
func (n *Names) append(entry []byte, err error) error {
	if err != nil {
		return err
	}
	if err := n.file.Truncate(n.size); err != nil {
		return classify(err)
	}
	if _, err = n.file.WriteAt(entry, n.size); err == nil {
		err = n.file.Sync()
	}
	if err != nil {
		return classify(errors.Join(err, n.file.Truncate(n.size)))
	}
	n.size += int64(len(entry))
	return nil
}

// Forget deletes a name's entry: its random id then says nothing, and the name gets another one when it comes again.
func (n *Names) Forget(kind identity.NameKind, connector, name string) error {
	n.writing.Lock()
	defer n.writing.Unlock()
	key := nameKey{kind, connector, name}
	if n.known(key) == "" {
		return nil
	}
	if err := n.rewrite(key); err != nil {
		return fmt.Errorf("names: forget: %w", err)
	}
	n.mu.Lock()
	delete(n.ids, key)
	n.mu.Unlock()
	return nil
}

// rewrite writes all entries but one under a new key. Whatever moment a crash comes at, one of the two keys opens the file that is there.
func (n *Names) rewrite(without nameKey) error {
	if err := removeIfThere(n.path(namesKey + newFile)); err != nil {
		return err
	}
	secret, err := LoadOrCreateSecret(n.path(namesKey+newFile), secretSize)
	if err != nil {
		return err
	}
	codec := newNameCodec(secret)
	var all []byte
	for k, id := range n.ids {
		if k == without {
			continue
		}
		entry, err := codec.seal(k, id)
		if err != nil {
			return err
		}
		all = append(all, entry...)
	}
	f, err := os.OpenFile(n.path(namesLog+newFile), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(all)
	if err := errors.Join(err, f.Sync()); err != nil {
		f.Close()
		return classify(err)
	}
	if err := os.Rename(f.Name(), n.path(namesLog)); err != nil {
		f.Close()
		return err
	}
	n.file.Close()
	n.file, n.size, n.codec = f, int64(len(all)), codec
	return n.takeKey()
}

// takeKey puts the new key in the old one's place, and overwrites the old one's bytes as far as the file system lets us.
func (n *Names) takeKey() error {
	if err := durable.SyncDir(n.state); err != nil {
		return err
	}
	old, err := os.OpenFile(n.path(namesKey), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer old.Close()
	if err := os.Rename(n.path(namesKey+newFile), n.path(namesKey)); err != nil {
		return err
	}
	if err := durable.SyncDir(n.state); err != nil {
		return err
	}
	_, err = old.WriteAt(make([]byte, secretSize), 0)
	return errors.Join(err, old.Sync())
}

// Close closes the file. Names that are known still have their ids.
func (n *Names) Close() error {
	n.writing.Lock()
	defer n.writing.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	return n.file.Close()
}
