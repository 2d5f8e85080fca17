package santa

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/durable"
)

// machine is what is known of one machine.
type machine struct {
	ID      string    `json:"id"`
	Serial  string    `json:"serial,omitempty"`
	Name    string    `json:"name"`
	User    string    `json:"user,omitempty"`
	Version string    `json:"version,omitempty"` // of Santa
	System  string    `json:"system,omitempty"`
	Mode    string    `json:"mode,omitempty"`
	Seen    time.Time `json:"seen"`
	Has     string    `json:"has,omitempty"` // digest of the rules that it confirmed
	Trouble bool      `json:"trouble,omitempty"`

	// Recent are ids of what it reported last: what it had no answer to comes again, also over a restart of ours.
	Recent []string `json:"recent,omitempty"`

	offered *ruleSet // of the sync that goes on
	clean   bool     // it begins anew with them
}

// Bounds of Recent: within a sync, and after one.
const (
	maxRecent  = 2 * maxEvents
	keptRecent = 64
)

// reported takes up ids of what was reported.
func (m *machine) reported(ids []string) {
	m.Recent = slices.Clone(last(append(m.Recent, ids...), maxRecent))
}

// last returns the last of a list, n at most.
func last(list []string, n int) []string { return list[max(0, len(list)-n):] }

// machines are those that were ever let in, kept in one file.
type machines struct {
	path string
	most int

	mu    sync.Mutex
	list  map[string]*machine // by id in lower case
	dirty bool
}

// maxState bounds the file.
const maxState = 64 << 20

func openMachines(path string, most int) (*machines, error) {
	m := &machines{path: path, most: most, list: map[string]*machine{}}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxState {
		return nil, fmt.Errorf("%s is too large", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []*machine
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, x := range list {
		if x != nil && machineID(x.ID) {
			m.list[strings.ToLower(x.ID)] = x
		}
	}
	return m, nil
}

// save writes what changed since it was last written.
func (m *machines) save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirty {
		return nil
	}
	list := make([]*machine, 0, len(m.list))
	for _, x := range m.list {
		kept := *x
		kept.Recent = last(x.Recent, keptRecent)
		list = append(list, &kept)
	}
	slices.SortFunc(list, func(a, b *machine) int { return strings.Compare(a.ID, b.ID) })
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.path), 0o700); err != nil {
		return err
	}
	if err := durable.Replace(m.path, text, 0o600); err != nil {
		return err
	}
	m.dirty = false
	return nil
}

// errFull says that no more machines are taken in.
var errFull = errors.New("too many machines")

// update changes what is known of a machine. One that is not known is taken in when it may be.
func (m *machines) update(id string, takeIn bool, change func(x *machine)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, ok := m.list[strings.ToLower(id)]
	if !ok {
		if !takeIn {
			return errUnknown
		}
		if len(m.list) >= m.most {
			return errFull
		}
		x = &machine{ID: id}
		m.list[strings.ToLower(id)] = x
	}
	change(x)
	m.dirty = true
	return nil
}

// errUnknown says that a machine has to begin with a preflight.
var errUnknown = errors.New("begin with a preflight")

// get returns a copy of what is known.
func (m *machines) get(id string) (machine, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, ok := m.list[strings.ToLower(id)]
	if !ok {
		return machine{}, false
	}
	c := *x
	c.Recent = slices.Clone(x.Recent)
	return c, true
}

func (m *machines) count(since time.Time) (all, lately, troubled int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.list {
		if x.Seen.After(since) {
			lately++
		}
		if x.Trouble {
			troubled++
		}
	}
	return len(m.list), lately, troubled
}
