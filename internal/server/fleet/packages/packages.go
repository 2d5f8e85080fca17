// Package packages keeps releases of this program on a fleet server and offers them to machines.
//
// A release is a package of the system and the signed note that names it (endpoint/update/release). The server holds no release key and proves nothing
// on behalf of a machine: it refuses what is no release, or is not what its note says, so that no machine is troubled with that, and hands on the rest.
// Packages lie under their SHA-256; who is to have one is an Offer. What became of it is what machines say.
package packages

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/update"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/release"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Offer says which machines are to have a release. Field names are API.
type Offer struct {
	ID      string           `json:"id"`
	Release release.Manifest `json:"release"`
	Signers []string         `json:"signers"` // as the note says, which the server does not prove
	All     bool             `json:"all,omitempty"`
	Groups  []string         `json:"groups,omitempty"`
	Hosts   []string         `json:"hosts,omitempty"` // ids
	By      string           `json:"by"`
	At      time.Time        `json:"at"`
	Note    []byte           `json:"note"`
}

// Errors of offers.
var (
	ErrNoOffer = errors.New("no release of that id is offered")
	ErrMany    = errors.New("as many releases are offered as the server keeps: withdraw one")
	ErrContent = errors.New("the package is not the one that the note names")
)

// Bounds of what is kept.
const (
	mostOffers = 16
	maxState   = 4 << 20
)

// Shelf is the releases that a server offers.
type Shelf struct {
	dir string

	mu     sync.Mutex
	offers []Offer // the newest first
	any    atomic.Bool
}

// Open opens a shelf in a folder.
func Open(dir string) (*Shelf, error) {
	s := &Shelf{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("releases: %w", err)
	}
	b, err := outside.ReadFile(s.file(), maxState)
	if err == nil {
		err = json.Unmarshal(b, &s.offers)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("releases: %w", err)
	}
	s.any.Store(len(s.offers) > 0)
	left, err := filepath.Glob(filepath.Join(dir, ".coming-*"))
	for _, path := range left { // of a process that was killed
		err = errors.Join(err, os.Remove(path))
	}
	return s, err
}

func (s *Shelf) file() string               { return filepath.Join(s.dir, "offers.json") }
func (s *Shelf) place(sha256 string) string { return filepath.Join(s.dir, sha256+".package") }

// Put keeps the package of a release, when it is the one that the release names.
func (s *Shelf) Put(m release.Manifest, in io.Reader) error {
	if sum, size, err := release.Digest(s.place(m.SHA256)); err == nil && sum == m.SHA256 && size == m.Size {
		return nil
	}
	f, err := os.CreateTemp(s.dir, ".coming-*")
	if err != nil {
		return fmt.Errorf("releases: %w", err)
	}
	defer os.Remove(f.Name())
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(in, m.Size+1))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("releases: %w", err)
	}
	if n != m.Size || hex.EncodeToString(h.Sum(nil)) != m.SHA256 {
		return ErrContent
	}
	if err := os.Rename(f.Name(), s.place(m.SHA256)); err != nil {
		return fmt.Errorf("releases: %w", err)
	}
	return durable.SyncDir(s.dir)
}

// Set offers a release. One that is offered is offered to these machines besides.
func (s *Shelf) Set(o Offer) (Offer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := slices.Clone(s.offers)
	if i := slices.IndexFunc(next, func(x Offer) bool { return x.ID == o.ID }); i >= 0 {
		before := next[i]
		o.All = o.All || before.All
		o.Groups, o.Hosts = union(before.Groups, o.Groups), union(before.Hosts, o.Hosts)
		next = slices.Delete(next, i, i+1)
	}
	if len(next) >= mostOffers {
		return o, ErrMany
	}
	return o, s.keep(slices.Insert(next, 0, o))
}

func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// keep has other offers in force, durably.
func (s *Shelf) keep(next []Offer) error {
	b, err := json.Marshal(next)
	if err == nil {
		err = durable.Replace(s.file(), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("releases: %w", err)
	}
	s.offers = next
	s.any.Store(len(next) > 0)
	return nil
}

// Find returns the offer with an id, or with the only one that begins so.
func (s *Shelf) Find(id string) (Offer, error) {
	var found []Offer
	for _, o := range s.Offers() {
		if id != "" && strings.HasPrefix(o.ID, id) {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		return Offer{}, ErrNoOffer
	}
	return found[0], nil
}

// Withdraw ends an offer. A machine that has the package keeps it; one that is fetching it stops.
func (s *Shelf) Withdraw(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.offers, func(x Offer) bool { return x.ID == id })
	if i < 0 {
		return ErrNoOffer
	}
	gone := s.offers[i].Release.SHA256
	if err := s.keep(slices.Delete(slices.Clone(s.offers), i, i+1)); err != nil {
		return err
	}
	if slices.ContainsFunc(s.offers, func(x Offer) bool { return x.Release.SHA256 == gone }) {
		return nil
	}
	return os.Remove(s.place(gone))
}

// Offers returns what is offered, the newest first.
func (s *Shelf) Offers() []Offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.offers)
}

// For returns the newest release that a machine is to have and has not decided about. groups is asked for only where a release is offered.
func (s *Shelf) For(host string, u *protocol.Update, groups func() []string) (Offer, bool) {
	if u == nil || !s.any.Load() || update.Phase(u.State).Busy() { // the next comes when that has ended
		return Offer{}, false
	}
	in := groups()
	for _, o := range s.Offers() {
		if o.fits(u) && o.covers(host, in) {
			return o, !o.decided(u)
		}
	}
	return Offer{}, false
}

// covers reports whether an offer is for a machine.
func (o *Offer) covers(host string, groups []string) bool {
	return o.All || slices.Contains(o.Hosts, host) || slices.ContainsFunc(o.Groups, func(g string) bool { return slices.Contains(groups, g) })
}

// fits reports whether a machine has packages of this kind.
func (o *Offer) fits(u *protocol.Update) bool {
	return u.Format == o.Release.Format && u.Architecture == o.Release.Architecture
}

// decided reports whether a machine has the release, refused it, or is at it.
func (o *Offer) decided(u *protocol.Update) bool {
	phase := update.Phase(u.State)
	return u.Version == o.Release.Version || u.Refused == o.ID || u.Release == o.ID && phase != update.Fetching && phase != update.Waiting
}

// State says how a machine does with an offer, in a word, and why.
func (o *Offer) State(u *protocol.Update) (state, why string) {
	switch {
	case u == nil:
		return "takes none", "its configuration pins no release key"
	case !o.fits(u):
		return "another system", u.Format + " of " + u.Architecture
	case u.Release == o.ID && u.State != "" && u.State != string(update.Fetching):
		return u.State, u.Error
	case u.Version == o.Release.Version:
		return string(update.Installed), ""
	case u.Refused == o.ID:
		return "refused", u.Why
	case u.Release == o.ID && u.State != "":
		return u.State, u.Error
	}
	return "offered", ""
}

// Piece returns a piece of a package that is offered; ok is false for another.
func (s *Shelf) Piece(g protocol.Get) (b []byte, ok bool) {
	if !s.any.Load() {
		return nil, false
	}
	sum := hex.EncodeToString(g.SHA256[:])
	i := slices.IndexFunc(s.Offers(), func(o Offer) bool { return o.Release.SHA256 == sum })
	if i < 0 || g.Offset >= release.MaxSize {
		return nil, false
	}
	f, err := os.Open(s.place(sum))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	b = make([]byte, protocol.MaxPiece)
	n, err := f.ReadAt(b, int64(g.Offset))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false
	}
	return b[:n], true
}
