package agent

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/trust"
)

// trustEvery is how often the package database is looked at for changes, at most.
const trustEvery = 10 * time.Second

// freshTrust loads the package database again after it changed.
type freshTrust struct {
	packages atomic.Pointer[trust.Packages]
	last     trust.Stamp // of what was loaded
}

func packages(ctx context.Context) (*freshTrust, error) {
	t := &freshTrust{}
	return t, t.renew(ctx, func() {})
}

// Trusted implements judge.Trust.
func (t *freshTrust) Trusted(f *os.File) bool { return t.packages.Load().Trusted(f) }

// renew loads the database again when packages were installed or removed. One that cannot be loaded, as in the middle of an installation, leaves
// what was known.
func (t *freshTrust) renew(ctx context.Context, changed func()) error {
	now := trust.Stamps("")
	now.Flatpak = trust.Moment{} // it lists no checksums
	if t.packages.Load() != nil && now == t.last {
		return nil
	}
	p, err := trust.Load(ctx, "")
	if err != nil {
		return err
	}
	t.last = now
	t.packages.Store(p)
	changed()
	return nil
}
