package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// State says whether a host belongs to the fleet.
type State string

// The states of hosts.
const (
	Pending  State = "pending"
	Approved State = "approved"
	Denied   State = "denied"
	Revoked  State = "revoked"
)

// Host is a machine with an agent. Field names are API.
type Host struct {
	ID          string    `json:"id"`
	State       State     `json:"state"`
	Name        string    `json:"name"` // as it called itself at enrolment, and again at each connection
	Addresses   []string  `json:"addresses"`
	From        string    `json:"from"` // address that its connection came from
	OS          string    `json:"os"`
	Arch        string    `json:"arch"`
	Version     string    `json:"version"` // of the agent
	Fingerprint string    `json:"fingerprint"`
	Code        string    `json:"code"` // that it enrolled with
	Asked       time.Time `json:"asked"`
	Decided     time.Time `json:"decided,omitzero"`
	By          string    `json:"by,omitempty"`
	Ends        time.Time `json:"ends,omitzero"` // of its certificate
	Request     []byte    `json:"request,omitempty"`
	Certificate []byte    `json:"certificate,omitempty"` // until it has been fetched

	Seen      Seen                `json:"-"` // kept beside, see snapshot
	Inventory *protocol.Inventory `json:"-"`
}

// Seen is what a host said last. It is worth less than the rest and kept apart: losing a minute of it loses nothing.
type Seen struct {
	At      time.Time `json:"at"`
	Online  bool      `json:"-"`
	Mode    string    `json:"mode,omitempty"`
	Fleet   uint64    `json:"fleet"` // generation in force of what holds for all
	Host    uint64    `json:"host"`  // of what holds for it alone
	Overlay string    `json:"overlay,omitempty"`
	Trouble string    `json:"trouble,omitempty"` // why a bundle is not in force
	Spool   string    `json:"spool,omitempty"`
	Acked   uint64    `json:"acked,omitempty"`
	Turn    uint64    `json:"turn,omitempty"`  // given last, see protocol.Welcome
	Kept    uint64    `json:"kept,omitempty"`  // the last that the agent has shown to have kept
	Copied  time.Time `json:"copied,omitzero"` // when an agent came with a copy of the state of this host

	Update *protocol.Update `json:"update,omitempty"` // how it does with releases of this program; nil: it takes none
}

// Errors of the roster.
var (
	ErrUnknownHost = errors.New("no host of that id or name")
	ErrManyHosts   = errors.New("several hosts have that name: give the id")
	ErrNotPending  = errors.New("the host is not waiting for a decision")
	ErrTooMany     = errors.New("there are as many hosts as the server takes")
)

// roster is the hosts of a fleet: one small file for each, written whole and durably at each change.
type roster struct {
	dir string
	max int

	mu    sync.Mutex
	hosts map[string]*Host
	keys  map[string]string // id by fingerprint
	dirty bool              // something was seen since the last snapshot
}

func openRoster(dir string, most int) (*roster, error) {
	r := &roster{dir: dir, max: most, hosts: map[string]*Host{}, keys: map[string]string{}}
	for _, sub := range []string{"hosts", "inventory"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("fleet: %w", err)
		}
	}
	list, err := os.ReadDir(filepath.Join(dir, "hosts"))
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	for _, f := range list {
		id, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok {
			continue // what a crash left beside
		}
		var h Host
		if err := readJSON(filepath.Join(dir, "hosts", f.Name()), &h); err != nil {
			return nil, fmt.Errorf("fleet: %w", err)
		}
		if h.ID != id {
			return nil, fmt.Errorf("fleet: hosts/%s is of host %q", f.Name(), h.ID)
		}
		var inv protocol.Inventory
		if err := readJSON(r.inventoryPath(id), &inv); err == nil {
			h.Inventory = &inv
		}
		r.hosts[id], r.keys[h.Fingerprint] = &h, id
	}
	seen := map[string]Seen{}
	if err := readJSON(r.seenPath(), &seen); err != nil && !errors.Is(err, fs.ErrNotExist) {
		seen = nil // it is remade as hosts connect
	}
	for id, s := range seen {
		if h := r.hosts[id]; h != nil {
			h.Seen = s
		}
	}
	return r, nil
}

// maxStateFile bounds what is read back, in bytes.
const maxStateFile = 64 << 20

func readJSON(path string, v any) error {
	b, err := outside.ReadFile(path, maxStateFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return durable.Replace(path, b, 0o600)
}

func (r *roster) path(id string) string { return filepath.Join(r.dir, "hosts", id+".json") }
func (r *roster) inventoryPath(id string) string {
	return filepath.Join(r.dir, "inventory", id+".json")
}
func (r *roster) seenPath() string { return filepath.Join(r.dir, "seen.json") }

// get returns a copy.
func (r *roster) get(id string) (Host, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hosts[id]
	if h == nil {
		return Host{}, false
	}
	return *h, true
}

func (r *roster) byKey(fingerprint string) (Host, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hosts[r.keys[fingerprint]]
	if h == nil {
		return Host{}, false
	}
	return *h, true
}

// find returns the host with an id, or else the only one in a state with that name.
func (r *roster) find(what string, states ...State) (Host, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.hosts[what]; h != nil {
		return *h, nil
	}
	var found *Host
	for _, h := range r.hosts {
		if (h.Name == what || h.Fingerprint == what) && (len(states) == 0 || slices.Contains(states, h.State)) {
			if found != nil {
				return Host{}, fmt.Errorf("%q: %w", what, ErrManyHosts)
			}
			found = h
		}
	}
	if found == nil {
		return Host{}, fmt.Errorf("%q: %w", what, ErrUnknownHost)
	}
	return *found, nil
}

// list returns copies of the hosts in some states (all when none is given), by name.
func (r *roster) list(states ...State) []Host {
	r.mu.Lock()
	out := make([]Host, 0, len(r.hosts))
	for _, h := range r.hosts {
		if len(states) == 0 || slices.Contains(states, h.State) {
			out = append(out, *h)
		}
	}
	r.mu.Unlock()
	slices.SortFunc(out, func(a, b Host) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return out
}

// put writes a host and has it in force.
func (r *roster) put(h Host) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.hosts[h.ID]
	if old == nil && len(r.hosts) >= r.max {
		return ErrTooMany
	}
	if err := writeJSON(r.path(h.ID), &h); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	if old != nil {
		h.Seen, h.Inventory = old.Seen, old.Inventory
		delete(r.keys, old.Fingerprint)
	}
	h.Request, h.Certificate = slices.Clip(h.Request), slices.Clip(h.Certificate)
	r.hosts[h.ID], r.keys[h.Fingerprint] = &h, h.ID
	return nil
}

// see notes what a host said.
func (r *roster) see(id string, f func(h *Host)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.hosts[id]; h != nil {
		f(h)
		r.dirty = true
	}
}

// addInventory keeps what another scan of a host found.
func (r *roster) addInventory(id string, scan protocol.Inventory) error {
	h, ok := r.get(id)
	if !ok {
		return ErrUnknownHost
	}
	inv := merged(h.Inventory, scan, h.OS)
	if err := writeJSON(r.inventoryPath(id), inv); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	r.see(id, func(h *Host) { h.Inventory = inv })
	return nil
}

// snapshot writes what was seen.
func (r *roster) snapshot() error {
	r.mu.Lock()
	if !r.dirty {
		r.mu.Unlock()
		return nil
	}
	r.dirty = false
	seen := make(map[string]Seen, len(r.hosts))
	for id, h := range maps.All(r.hosts) {
		seen[id] = h.Seen
	}
	r.mu.Unlock()
	return writeJSON(r.seenPath(), seen)
}
