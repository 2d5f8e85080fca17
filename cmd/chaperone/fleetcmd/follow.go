//go:build linux

package fleetcmd

import (
	"context"
	"fmt"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/endpoint/logs"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// follow hands up what other enforcers of this machine say they stopped, once a policy has come.
func (j *joined) follow(ctx context.Context, beside *sync.WaitGroup, cfg *config.Config, dir string) error {
	for _, l := range cfg.Agent.Logs {
		judge := logs.NewJudge(logs.Options{Connector: "log-" + l.Format, Now: time.Now, Owner: ownerOf,
			Rules: func() (*catalog.Catalog, policy.Decider) { set := j.set.Load(); return set.Catalog, set.Policy },
			Host:  func(string, time.Time) event.Host { return event.Host{} }}) // this machine
		name := cfg.Path(l.Path)
		f, err := logs.NewFollower(name, l.Format, filepath.Join(dir, "logs"), time.Now, j.taking(name, judge))
		if err != nil {
			return fmt.Errorf("agent.logs: %w", err)
		}
		beside.Go(func() {
			for j.set.Load() == nil && ctx.Err() == nil {
				clock.Pause(ctx, time.Second)
			}
			failing := false
			f.Run(ctx, func(err error) {
				if err != nil && !failing {
					j.log.Error("log of another enforcer", "file", name, "error", err)
				}
				failing = err != nil
			})
		})
	}
	return nil
}

// taking returns what spools a batch. What the server has is read once; after a crash between, again under the same id.
func (j *joined) taking(name string, judge *logs.Judge) func(ctx context.Context, b logs.Batch) error {
	return func(ctx context.Context, b logs.Batch) error {
		var keep []*event.Event
		for _, item := range b.Items {
			if e := judge.Judge(item.Entry, item.Source); e != nil {
				e.ID = event.ImportID([]byte("enforcer logs of an agent"), name, item.Source, "")
				keep = append(keep, e)
			}
		}
		now := time.Now()
		if b.Lost != "" || b.Trouble.Lines > 0 {
			text := b.Lost
			if b.Trouble.Lines > 0 {
				text = strings.TrimPrefix(fmt.Sprintf("%s; %d lines could not be understood, the first: %v", text, b.Trouble.Lines, b.Trouble.First), "; ")
			}
			keep = append(keep, &event.Event{ID: event.NewID(), Kind: event.Gap, Time: now, Until: now, Received: now, Reason: event.ReasonUnreadable,
				Content: event.Content{Explanation: "log " + name + ": " + text}})
		}
		if len(keep) == 0 {
			return nil
		}
		return j.recorder.Record(ctx, keep...)
	}
}

// ownerOf returns the name of a user of this machine.
func ownerOf(id string) string {
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
