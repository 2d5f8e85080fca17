package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// deltaAgents are enough to see what a change of a large policy costs each: it costs every one the same.
const deltaAgents = 100

// writeLarge writes a policy of about two hundred kilobytes, in which one rule is another in each turn.
func (b *bench) writeLarge(turn int) error {
	var text strings.Builder
	text.WriteString("version: 1\nrules:\n  - {id: no-messengers, apps: [\"*\"], verdict: block}\n")
	for i := range 1500 {
		say := 0
		if i == 700 {
			say = turn
		}
		fmt.Fprintf(&text, "  - {id: rule-%d, names: [\"host-%x.example.org\"], verdict: block, say: \"Not here (%d), and see the intranet for why: page %x.\"}\n", i, i*i*7919, say, i*i)
	}
	return os.WriteFile(b.path("policy.yaml"), []byte(text.String()), 0o600)
}

// delta measures what is sent for one changed rule of a large policy.
func (b *bench) delta(ctx context.Context) error {
	for _, a := range b.fleet.agents {
		a.conn.Close()
		<-a.closed
	}
	all := b.fleet.agents
	defer func() { b.fleet.agents = all }()
	b.fleet.agents = all[:min(len(all), deltaAgents)]
	if err := b.fleet.each(ctx, 64, func(ctx context.Context, a *agent) error { return a.connect(ctx) }); err != nil {
		return err
	}
	n := int64(len(b.fleet.agents))
	var sent []int64
	for turn := range 2 {
		if err := b.writeLarge(turn); err != nil {
			return err
		}
		before := b.fleet.bytes.Load()
		if _, err := b.reload(ctx, int(n)); err != nil {
			return err
		}
		sent = append(sent, (b.fleet.bytes.Load()-before)/n)
		time.Sleep(1500 * time.Millisecond) // generations are numbered by the second
	}
	info, err := os.Stat(b.path("policy.yaml"))
	if err != nil {
		return err
	}
	b.say("delta: the first large policy (%d bytes) took %d bytes for each agent, one changed rule of it %d bytes (signed manifest and frame included)", info.Size(), sent[0], sent[1])
	b.goals = append(b.goals, goal{"one changed rule of a policy of 200 KB, sent to each agent", float64(sent[1]), 2000, "bytes"})
	return nil
}

// reload has the server take the policy file up, and waits until so many agents have it. It returns when each of them did.
func (b *bench) reload(ctx context.Context, n int) ([]time.Time, error) {
	known := len(b.fleet.generations())
	if err := b.server.Process.Signal(syscall.SIGHUP); err != nil {
		return nil, err
	}
	var arrived []time.Time
	err := b.wait(ctx, func() bool {
		g := b.fleet.generations()
		if len(g) == known {
			return false
		}
		b.fleet.mu.Lock()
		defer b.fleet.mu.Unlock()
		arrived = b.fleet.arrived[g[len(g)-1]]
		return len(arrived) == n
	})
	return arrived, err
}
