package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/trust"
)

const (
	packagedEvery = 2 * time.Second // how often it is looked whether packages came or went, at least
	packagedClock = time.Second     // two changes less apart than this may bear the same time
)

// packaged knows which files messengers' packages brought. One goroutine (run) looks; whoever asks about a file that is newer than the last look
// waits for another one. The lists of dpkg and the files of Flatpak are read at the start of a worker, so that each worker knows the same of the
// same machine; rpm, which is a program and must be let through itself, is asked once the worker decides, and its answer is kept for the next one.
type packaged struct {
	dir, root string
	log       *slog.Logger
	catalog   atomic.Pointer[catalog.Catalog] // in force
	view      atomic.Pointer[view]
	looks     chan chan struct{} // wishes for another look, closed once it is done
}

// view is what was seen at one look.
type view struct {
	catalog *catalog.Catalog
	stamp   trust.Stamp
	begun   time.Time
	settled bool // what came since has another stamp
	owned   *trust.Owned
	files   []trust.Listed // of dpkg and Flatpak
	rpm     answer
	failed  time.Time // when rpm gave no answer
}

// newPackaged makes a first look, with what rpm answered an earlier worker. An error tells of what could not be read; the rest is known.
func newPackaged(dir, root string, c *catalog.Catalog, log *slog.Logger) (*packaged, error) {
	p := &packaged{dir: dir, root: root, log: log, looks: make(chan chan struct{})}
	p.catalog.Store(c)
	kept, err := p.load()
	return p, errors.Join(err, p.see(&view{rpm: kept}, c))
}

// see fills a view, all but what rpm would say now.
func (p *packaged) see(v *view, c *catalog.Catalog) error {
	names := packageNames(c)
	v.catalog, v.begun, v.stamp = c, time.Now(), trust.Stamps(p.root)
	v.settled = v.stamp.Settled(v.begun)
	dpkg, err1 := trust.Dpkg(p.root, names["deb"])
	flatpak, err2 := trust.Flatpak(p.root, names["flatpak"])
	err := errors.Join(err1, err2)
	if err == nil {
		v.files = nil // else what was known before counts still
	}
	v.files = trust.Merge(dpkg, flatpak, v.files)
	v.own(p.root)
	p.view.Store(v)
	return err
}

func (v *view) own(root string) { v.owned = trust.Own(root, v.files, v.rpm.Files) }

// run looks whenever somebody wishes it, and every now and then. changed is called after each look that saw other files than the last.
func (p *packaged) run(ctx context.Context, changed func() error) error {
	tick := time.NewTicker(packagedEvery)
	defer tick.Stop()
	said := ""
	var wishes []chan struct{}
	for {
		err := p.again(ctx, p.catalog.Load(), len(wishes) > 0, changed)
		for _, done := range wishes {
			close(done)
		}
		if err == nil {
			said = ""
		} else if said != err.Error() && ctx.Err() == nil {
			said = err.Error()
			p.log.Warn("packages of messengers", "error", said)
		}
		wishes = wishes[:0]
		select {
		case <-ctx.Done():
			return nil
		case done := <-p.looks:
			wishes = p.more(append(wishes, done))
		case <-tick.C:
		}
	}
}

// more takes all that wait for a look already.
func (p *packaged) more(wishes []chan struct{}) []chan struct{} {
	for {
		select {
		case done := <-p.looks:
			wishes = append(wishes, done)
		default:
			return wishes
		}
	}
}

// again looks again: at everything when somebody wishes it or the stamp is another one, else where the files lie.
func (p *packaged) again(ctx context.Context, c *catalog.Catalog, all bool, changed func() error) error {
	old := p.view.Load()
	next := *old
	v := &next
	var err error
	switch {
	case all || !old.settled || old.catalog != c || old.stamp != trust.Stamps(p.root):
		err = p.see(v, c)
	case !old.owned.Empty():
		v.begun = time.Now()
		v.own(p.root)
		p.view.Store(v)
	}
	if old.owned.Sum() != v.owned.Sum() {
		err = errors.Join(err, changed())
	}
	if !p.asks(v) {
		return err
	}
	told := *v
	asked, wrong := p.ask(ctx, v)
	if wrong != nil {
		told.failed = time.Now()
	} else {
		told.rpm, told.failed = asked, time.Time{}
		told.own(p.root)
		err = errors.Join(err, p.keep(asked)) // before it is in force: the next worker knows the same
	}
	p.view.Store(&told)
	if told.owned.Sum() != v.owned.Sum() {
		err = errors.Join(err, changed())
	}
	return errors.Join(err, wrong)
}

// generation is that of rules with what is known of packages: the same for each worker that knows the same.
func (p *packaged) generation(rules uint64) uint64 { return rules ^ p.view.Load().owned.Sum() }

// adopt looks for the packages that another catalog names.
func (p *packaged) adopt(ctx context.Context, c *catalog.Catalog) {
	if p.catalog.Swap(c).Version() == c.Version() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, packagedEvery) // the policy does not wait for a slow rpm
	defer cancel()
	p.renew(ctx)
}

// renew has everything looked at again, and waits for that as long as ctx lasts.
func (p *packaged) renew(ctx context.Context) bool {
	done := make(chan struct{})
	select {
	case p.looks <- done:
	case <-ctx.Done():
		return false
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// packageNames are the packages that the catalog names as messengers', by manager.
func packageNames(c *catalog.Catalog) map[string][]string {
	out := map[string][]string{}
	for _, app := range c.Apps() {
		for _, l := range app.Programs.Linux {
			out["deb"], out["rpm"], out["flatpak"] = append(out["deb"], l.Deb...), append(out["rpm"], l.RPM...), append(out["flatpak"], l.Flatpak...)
		}
	}
	for _, names := range out {
		slices.Sort(names)
	}
	return out
}

// forced are the rules in force, without what is known of packages.
type forced struct {
	mu    sync.Mutex
	rules judge.Rules
}

// force puts rules in force.
func (a *Agent) force(r judge.Rules) error {
	a.forced.mu.Lock()
	defer a.forced.mu.Unlock()
	a.forced.rules = r
	return a.forceLocked()
}

// forceAgain has everything asked anew, also what the kernel was told not to ask about: other programs are of messengers' packages now.
func (a *Agent) forceAgain() error {
	a.forced.mu.Lock()
	defer a.forced.mu.Unlock()
	return a.forceLocked()
}

// forceLocked puts them in force with what is known of packages.
func (a *Agent) forceLocked() error {
	r := a.forced.rules
	r.Generation = a.packages.generation(r.Generation)
	a.kept.Renew(a.keptID(r.Generation))
	return a.judge.SetRules(a.o.Socket, r)
}
