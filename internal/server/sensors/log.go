package sensors

import (
	"context"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/logs"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// Log makes records and observations of what another program's log says. The log waits for the journal: nothing of it is lost.
type Log struct {
	well
	follower  *logs.Follower
	connector string
	log       string // as findings name it
	key       []byte // of the ids of its events
	judge     *logs.Judge
}

// Logs makes sensors of logs of other programs, whose state lies under the data directory. Those of one program share what they taught.
func Logs(all []config.Log, path func(string) string, data string, d Deps) ([]*Log, error) {
	var out []*Log
	judges := map[string]*logs.Judge{}
	for _, l := range all {
		if judges[l.Format] == nil {
			judges[l.Format] = logs.NewJudge(func() classify.Catalog { return d.Pair().First.Set.Catalog }, logs.Options{Source: l.Format, Policy: d.Policy,
				Host: func(a netip.Addr, at time.Time) event.Host { return d.Directory.Host("", a.String(), at) }})
		}
		x, err := newLog(path(l.Path), l.Format, data, judges[l.Format], d)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

func newLog(path, format, data string, judge *logs.Judge, d Deps) (*Log, error) {
	key, err := file.LoadOrCreateSecret(filepath.Join(data, "state", "logs.key"), 32)
	if err != nil {
		return nil, err
	}
	x := &Log{well: well{d: d, name: "log " + path}, connector: "log-" + format, log: filepath.Base(path), key: key, judge: judge}
	x.follower, err = logs.NewFollower(path, format, filepath.Join(data, "state", "logs"), d.Clock.Now, x.take)
	return x, err
}

// Run follows the log until the context ends.
func (x *Log) Run(ctx context.Context) error {
	x.follower.Run(ctx, func(err error) { x.report(err, x.follower.Lines()) })
	return nil
}

// take makes a batch durable: what must be kept as records, all else as observations.
func (x *Log) take(ctx context.Context, b logs.Batch) error {
	var keep []*event.Event
	var seen []*event.Event
	for _, item := range b.Items {
		found := x.judge.Judge(item.Entry)
		e := found.Event
		e.Connector, e.Received = x.connector, x.d.Clock.Now()
		if e.Flow != nil {
			e.Flow.Capture = x.log
		}
		if !found.Finding.Record() {
			seen = append(seen, e)
			continue
		}
		e.ID = event.ImportID(x.key, x.connector, item.Source, "")
		keep = append(keep, e)
	}
	if err := x.record(ctx, x.connector, keep, b.Lost); err != nil {
		return err
	}
	for _, e := range seen {
		x.d.Observer.Observe(e)
	}
	x.add(b.Trouble)
	return nil
}
