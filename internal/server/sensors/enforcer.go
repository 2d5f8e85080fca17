package sensors

import (
	"context"
	"path/filepath"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/endpoint/logs"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// Enforcer makes records of what another enforcer says it stopped. The log waits for the journal: nothing of it is lost.
type Enforcer struct {
	well
	follower  *logs.Follower
	connector string
	key       []byte // of the ids of its events
	judge     *logs.Judge
}

// Enforcers makes sensors of logs of other enforcers, whose state lies under the data directory.
func Enforcers(all []config.EnforcerLog, path func(string) string, data string, d Deps) ([]*Enforcer, error) {
	var out []*Enforcer
	for _, l := range all {
		key, err := file.LoadOrCreateSecret(filepath.Join(data, "state", "logs.key"), 32)
		if err != nil {
			return nil, err
		}
		x := &Enforcer{well: well{d: d, name: "log " + path(l.Path)}, connector: "log-" + l.Format, key: key}
		x.judge = logs.NewJudge(logs.Options{Connector: x.connector, Now: d.Clock.Now,
			Rules: func() (*catalog.Catalog, policy.Decider) { return d.Pair().First.Set.Catalog, d.Policy },
			Host:  func(name string, at time.Time) event.Host { return d.Directory.Host(name, "", at) }})
		if x.follower, err = logs.NewFollower(path(l.Path), l.Format, filepath.Join(data, "state", "logs"), d.Clock.Now, x.take); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// Run follows the log until the context ends.
func (x *Enforcer) Run(ctx context.Context) error {
	x.follower.Run(ctx, func(err error) { x.report(err, x.follower.Lines()) })
	return nil
}

// take makes a batch durable.
func (x *Enforcer) take(ctx context.Context, b logs.Batch) error {
	var keep []*event.Event
	for _, item := range b.Items {
		e := x.judge.Judge(item.Entry, item.Source)
		if e == nil {
			continue
		}
		e.ID = event.ImportID(x.key, x.connector, item.Source, "")
		keep = append(keep, e)
	}
	if err := x.record(ctx, x.connector, keep, b.Lost); err != nil {
		return err
	}
	x.add(b.Trouble)
	return nil
}
