package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Bundle is what is in force on a machine.
type Bundle struct {
	Generation uint64 // of what holds for the whole fleet
	Host       uint64 // of what holds for this host alone
	Policy     []byte // the policy file; see Source for the one to compile
	Catalog    []byte // a signed catalog bundle; nil: the built-in catalog
	protocol.Settings
	protocol.Overlay // approvals that have ended are left out
}

// Applier brings a bundle into force, or says why it cannot be; then what was in force before stays.
type Applier interface {
	Apply(ctx context.Context, b Bundle) error
}

// keeper holds the bundles of one agent on disk and in force.
type keeper struct {
	dir      string
	id       identity
	verifier note.Verifier
	apply    Applier
	now      func() time.Time

	mu        sync.Mutex
	manifests map[string]protocol.Manifest // in force, by scope
	current   Bundle
	ends      time.Time     // of the first approval in force
	ending    chan struct{} // told when ends is another
}

func newKeeper(dir string, id identity, a Applier, now func() time.Time) (*keeper, error) {
	v, err := note.NewVerifier(id.Verifier)
	if err != nil {
		return nil, fmt.Errorf("state of the agent: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "parts"), 0o700); err != nil {
		return nil, fmt.Errorf("state of the agent: %w", err)
	}
	return &keeper{dir: dir, id: id, verifier: v, apply: a, now: now, manifests: map[string]protocol.Manifest{}, ending: make(chan struct{}, 1)}, nil
}

// Stored returns the bundle in force in a state folder, as another process may take it: signatures are checked, approvals that have ended are
// left out. Generation is 0 when none has come yet.
func Stored(ctx context.Context, dir string, now func() time.Time) (Bundle, error) {
	id, err := loadIdentity(dir)
	if err != nil {
		return Bundle{}, err
	}
	var got latest
	k, err := newKeeper(dir, id, &got, now)
	if err == nil {
		err = k.load(ctx)
	}
	return got.b, err
}

// latest is an Applier that keeps the bundle.
type latest struct{ b Bundle }

// Apply implements Applier.
func (l *latest) Apply(_ context.Context, b Bundle) error {
	l.b = b
	return nil
}

func (k *keeper) scopes() []string {
	return []string{protocol.AllHosts, protocol.HostScope(k.id.ID)}
}

func (k *keeper) notePath(scope string) string {
	names := Manifests()
	if scope == protocol.AllHosts {
		return filepath.Join(k.dir, names[0])
	}
	return filepath.Join(k.dir, names[1])
}

// Manifests are the files of a state folder that change whenever what is in force does: of the whole fleet, and of this host.
func Manifests() [2]string { return [2]string{"fleet.manifest", "host.manifest"} }

func (k *keeper) partPath(p protocol.Part) string { return filepath.Join(k.dir, "parts", p.SHA256) }

// load brings what was in force before into force again. The signatures are checked anew: the disk is not trusted more than the network.
func (k *keeper) load(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, scope := range k.scopes() {
		signed, err := outside.ReadFile(k.notePath(scope), maxStateFile)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		m, err := k.open(signed)
		if err != nil {
			return fmt.Errorf("%s: %w", k.notePath(scope), err)
		}
		k.manifests[scope] = m
	}
	if len(k.manifests) == 0 {
		return nil
	}
	b, err := k.assemble(k.manifests)
	if err != nil {
		return err
	}
	return k.bring(ctx, b)
}

// open checks that a manifest is signed by the pinned key, and for this host and fleet.
func (k *keeper) open(signed []byte) (protocol.Manifest, error) {
	m, err := protocol.Open(signed, k.verifier)
	if err != nil {
		return m, err
	}
	if m.Fleet != k.id.Fleet || !slices.Contains(k.scopes(), m.Scope) {
		return m, fmt.Errorf("%w: %s of %s", protocol.ErrScope, m.Scope, m.Fleet)
	}
	return m, nil
}

// check opens a manifest that came and refuses one that is not newer than what is in force.
func (k *keeper) check(signed []byte) (m protocol.Manifest, known bool, err error) {
	m, err = k.open(signed)
	if err != nil {
		return m, false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.manifests[m.Scope]
	if m.Generation == before.Generation {
		return m, true, nil
	}
	if m.Generation < before.Generation {
		return m, false, fmt.Errorf("%w: generation %d, in force is %d", protocol.ErrRollback, m.Generation, before.Generation)
	}
	return m, false, nil
}

// missing returns the parts of a manifest that are not on disk.
func (k *keeper) missing(m protocol.Manifest) []protocol.Part {
	var out []protocol.Part
	for _, p := range m.Parts {
		if _, err := k.part(p); err != nil {
			out = append(out, p)
		}
	}
	return out
}

func (k *keeper) part(p protocol.Part) ([]byte, error) {
	b, err := outside.ReadFile(k.partPath(p), protocol.MaxPart)
	if err == nil && protocol.PartOf(p.Name, b) != p {
		err = fmt.Errorf("%s is not what its name says", k.partPath(p))
	}
	return b, err
}

// put keeps a part when a manifest names it.
func (k *keeper) put(m protocol.Manifest, b []byte) error {
	sum := sha256.Sum256(b)
	i := slices.IndexFunc(m.Parts, func(p protocol.Part) bool { return p.SHA256 == hex.EncodeToString(sum[:]) && p.Size == len(b) })
	if i < 0 {
		return fmt.Errorf("%w: a part that the manifest does not name", protocol.ErrMalformed)
	}
	return durable.Replace(k.partPath(m.Parts[i]), b, 0o600)
}

// patch makes a part of the former one on disk, and keeps it.
func (k *keeper) patch(m protocol.Manifest, p protocol.Patch) error {
	i := slices.IndexFunc(m.Parts, func(q protocol.Part) bool { return q.SHA256 == hex.EncodeToString(p.Target[:]) })
	if i < 0 {
		return fmt.Errorf("%w: a patch to a part that the manifest does not name", protocol.ErrMalformed)
	}
	before, err := outside.ReadFile(k.partPath(protocol.Part{SHA256: hex.EncodeToString(p.Base[:])}), protocol.MaxPart)
	if err != nil {
		return err
	}
	after, err := p.Apply(before, m.Parts[i])
	if err != nil {
		return err
	}
	return k.put(m, after)
}

// take brings a bundle into force whose parts are all here, and keeps it. What cannot be brought into force is not kept.
func (k *keeper) take(ctx context.Context, signed []byte, m protocol.Manifest) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if m.Generation <= k.manifests[m.Scope].Generation {
		return protocol.ErrRollback
	}
	next := map[string]protocol.Manifest{m.Scope: m}
	for scope, before := range k.manifests {
		if scope != m.Scope {
			next[scope] = before
		}
	}
	b, err := k.assemble(next)
	if err != nil {
		return err
	}
	if err := k.bring(ctx, b); err != nil {
		return err
	}
	k.manifests = next
	if err := durable.Replace(k.notePath(m.Scope), signed, 0o600); err != nil {
		return err
	}
	return k.sweep()
}

// assemble reads the parts of manifests.
func (k *keeper) assemble(all map[string]protocol.Manifest) (Bundle, error) {
	fleet, host := all[protocol.AllHosts], all[protocol.HostScope(k.id.ID)]
	b := Bundle{Generation: fleet.Generation, Host: host.Generation}
	for _, p := range slices.Concat(fleet.Parts, host.Parts) {
		raw, err := k.part(p)
		if err != nil {
			return b, err
		}
		switch p.Name {
		case protocol.PolicyPart:
			b.Policy = raw
		case protocol.CatalogPart:
			b.Catalog = raw
		case protocol.SettingsPart:
			b.Settings, err = protocol.Decode[protocol.Settings](raw)
		case protocol.OverlayPart:
			b.Overlay, err = protocol.Decode[protocol.Overlay](raw)
		}
		if err != nil {
			return b, fmt.Errorf("part %s: %w", p.Name, err)
		}
	}
	return b, nil
}

// bring applies a bundle without the approvals that have ended.
func (k *keeper) bring(ctx context.Context, b Bundle) error {
	now := k.now()
	var ends time.Time
	inForce := b
	inForce.Approvals = nil
	for _, a := range b.Approvals {
		if !now.Before(a.Until) {
			continue
		}
		inForce.Approvals = append(inForce.Approvals, a)
		if ends.IsZero() || a.Until.Before(ends) {
			ends = a.Until
		}
	}
	if b.Generation > 0 {
		if err := k.apply.Apply(ctx, inForce); err != nil {
			return err
		}
	}
	if k.current = b; !ends.Equal(k.ends) {
		k.ends = ends
		select {
		case k.ending <- struct{}{}:
		default:
		}
	}
	return nil
}

// expire applies anew when an approval has ended, and returns when the next one does; zero for none.
func (k *keeper) expire(ctx context.Context) (time.Time, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ends.IsZero() || k.now().Before(k.ends) {
		return k.ends, nil
	}
	err := k.bring(ctx, k.current)
	return k.ends, err
}

func (k *keeper) inForce() Bundle {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

// sweep removes parts that nothing names any more.
func (k *keeper) sweep() error {
	list, err := os.ReadDir(filepath.Join(k.dir, "parts"))
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, m := range k.manifests {
		for _, p := range m.Parts {
			used[p.SHA256] = true
		}
	}
	for _, f := range list {
		if !used[f.Name()] {
			if err := os.Remove(filepath.Join(k.dir, "parts", f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// ordersDone remembers which orders were carried out, with their reports.
type ordersDone struct {
	path string
	done map[string]protocol.Report
}

func loadOrders(dir string) (*ordersDone, error) {
	o := &ordersDone{filepath.Join(dir, ordersFile), map[string]protocol.Report{}}
	b, err := outside.ReadFile(o.path, protocol.MaxPart)
	if errors.Is(err, os.ErrNotExist) {
		return o, nil
	}
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(b)).Decode(&o.done)
	}
	if err != nil {
		return nil, fmt.Errorf("state of the agent: %s: %w", ordersFile, err)
	}
	return o, nil
}

// put remembers a report and forgets those of orders that the server has withdrawn.
func (o *ordersDone) put(r protocol.Report, inForce []protocol.Order) error {
	next := map[string]protocol.Report{r.Order: r}
	for _, order := range inForce {
		if before, ok := o.done[order.ID]; ok {
			next[order.ID] = before
		}
	}
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := durable.Replace(o.path, b, 0o600); err != nil {
		return err
	}
	o.done = next
	return nil
}
