package agent

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/trust"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

// Origin implements judge.Packages.
func (p *packaged) Origin(ctx context.Context, f *judge.File) judge.Origin {
	v := p.view.Load()
	unsure := false
	if wire.RootOnly(f.Stat) && !p.fresh(v, f.Stat) {
		unsure = !p.renew(ctx)
		v = p.view.Load()
	}
	found, owned, shared := v.owned.Of(f.Path, f.Stat)
	sure := owned && !f.Loose
	if !owned {
		found, sure, owned = elsewhere(f)
	}
	o := judge.Origin{Claimed: !sure, Unsure: unsure || shared || young(f.Stat) && trust.Unpacking(p.root)}
	if owned {
		o.Match = messengerOf(v.catalog, found)
	}
	return o
}

// fresh reports whether a look saw all that could tell of a file.
func (p *packaged) fresh(v *view, st *unix.Stat_t) bool {
	return v.settled && v.stamp == trust.Stamps(p.root) && (v.owned.Empty() || st.Ctim.Nano() < v.begun.Add(-packagedClock).UnixNano()) && !p.asks(v)
}

// young reports whether a file only root can change is so new that the list of its package may still come.
func young(st *unix.Stat_t) bool {
	age := time.Now().UnixNano() - st.Ctim.Nano()
	return wire.RootOnly(st) && age < int64(packagedEvery) && age > -int64(packagedEvery)
}

// elsewhere tells which package a file is of that no list names.
func elsewhere(f *judge.File) (p trust.Package, sure, ok bool) {
	if p, sure, ok = trust.Snap(f.File); ok {
		return p, sure && !f.Loose, true
	}
	if p, ok = trust.Named(f.Path); ok {
		return p, false, true
	}
	p, ok = trust.Sandboxed(f.Thread, f.Path)
	return p, false, ok
}

// messengerOf returns what the catalog knows about a package that identifies a messenger.
func messengerOf(c *catalog.Catalog, p trust.Package) *catalog.Match {
	for _, m := range c.ByPackage(p.Manager, p.Name) {
		if m.Identity {
			return &m
		}
	}
	return nil
}
