// Command fleet measures what a fleet of simulated agents costs the server, and how fast a changed rule reaches the last of them.
//
//	go run ./bench/fleet [AGENTS]
//
// The server is the whole of `chaperone serve` in a process of its own, with its journal and ledger on disk. The agents speak the real
// protocol over TLS 1.3 on loopback, each with a key and a certificate of its own from the real enrolment, from many addresses of 127.0.0.0/8;
// they keep nothing on disk. A process needs a descriptor for each agent: `ulimit -n` must be above AGENTS.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/server"
	servefleet "github.com/chaperone-im/chaperone/internal/server/fleet"
	"github.com/chaperone-im/chaperone/internal/server/quickstart"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(2)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 2 && args[0] == "serve" {
		return serve(ctx, args[1])
	}
	n := 10_000
	if len(args) > 0 {
		var err error
		if n, err = strconv.Atoi(args[0]); err != nil || n < 1 || n > 50_000 {
			return errors.New("usage: fleet [AGENTS]")
		}
	}
	dir, err := os.MkdirTemp("", "chaperone-fleet")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, out: out, n: n, settle: 10 * time.Second, watch: time.Minute, pushes: 20}
	return b.run(ctx)
}

// run sets up, measures and ends the server.
func (b *bench) run(ctx context.Context) error {
	if err := b.setUp(); err != nil {
		return err
	}
	defer b.kill()
	return b.measure(ctx)
}

// serve is the server's process.
func serve(ctx context.Context, file string) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	s, err := server.New(ctx, cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), "bench")
	if err != nil {
		return err
	}
	return s.Run(ctx, func() { fmt.Println("ready") })
}

// bench is one run.
type bench struct {
	dir, address string
	out          io.Writer
	n            int
	settle       time.Duration // until memory is looked at
	watch        time.Duration // of heartbeats
	pushes       int           // of a changed policy
	server       *exec.Cmd
	fleet        *fleet
	empty        int64 // resident bytes of a server without hosts
	goals        []goal
}

// setUp writes a configuration and a policy.
func (b *bench) setUp() error {
	if _, err := quickstart.Write(quickstart.Options{Dir: b.dir, Profile: "plain", Domain: "example.org", Console: "127.0.0.1:8443", Shares: 3, Needed: 2}); err != nil {
		return err
	}
	at, err := loopback.Address()
	if err != nil {
		return err
	}
	b.address = at
	text := "policy: policy.yaml\nkeys: {unlock: \"file:data/keys/passphrase\"}\nledger: {verify_every: -1s}\nfleet: {listen: \"" + b.address + "\"}\n"
	return errors.Join(os.WriteFile(b.path("chaperone.yaml"), []byte(text), 0o600), b.writePolicy(0))
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// writePolicy writes a policy whose one large rule is another in each turn, so that four kilobytes are new in it.
func (b *bench) writePolicy(turn int) error {
	var hashes []string
	for i := range 128 { // half of such a digest remains when it is compressed
		hashes = append(hashes, fmt.Sprintf("\"%x\"", sha256.Sum256(fmt.Append(nil, turn, i))))
	}
	text := "version: 1\nrules:\n  - {id: no-messengers, apps: [\"*\"], verdict: block}\n  - {id: known-bad, programs: {sha256: [" + strings.Join(hashes, ", ") + "]}, verdict: block}\n"
	return os.WriteFile(b.path("policy.yaml"), []byte(text), 0o600)
}

// start starts the server's process and waits until it serves.
func (b *bench) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b.server = exec.CommandContext(ctx, self, "serve", b.path("chaperone.yaml"))
	b.server.Stderr = os.Stderr
	said, err := b.server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.server.Start(); err != nil {
		return err
	}
	buf := make([]byte, 16)
	if n, err := said.Read(buf); err != nil || !bytes.HasPrefix(buf[:n], []byte("ready")) {
		return fmt.Errorf("the server does not serve: %q, %w", buf[:n], err)
	}
	return nil
}

func (b *bench) kill() {
	if b.server != nil && b.server.ProcessState == nil {
		b.server.Process.Signal(syscall.SIGTERM)
		b.server.Wait()
	}
}

func (b *bench) operate(ctx context.Context, name string, args any) (string, error) {
	var out bytes.Buffer
	err := control.Do(ctx, b.path("data"), name, args, nil, &out)
	return strings.TrimSpace(out.String()), err
}

func (b *bench) measure(ctx context.Context) error {
	if err := b.start(ctx); err != nil {
		return err
	}
	time.Sleep(b.settle)
	b.empty = b.resident()
	if err := b.enrol(ctx); err != nil {
		return err
	}
	b.kill() // so that what follows is not measured with what enrolling left behind
	if err := b.start(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{b.connect, b.idle, b.push, b.report, b.restart, b.delta} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return table(b.out, b.goals)
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.out, format+"\n", args...) }

func (b *bench) enrol(ctx context.Context) error {
	text, err := b.operate(ctx, "fleet.code", servefleet.CodeArgs{Life: time.Hour, Uses: b.n})
	if err != nil {
		return err
	}
	code, err := protocol.ParseCode(text)
	if err != nil {
		return err
	}
	if b.fleet, err = newFleet(b.address, code, b.n); err != nil {
		return err
	}
	begin := time.Now()
	ask := func(ctx context.Context, a *agent) error { _, err := a.enrol(ctx); return err }
	if err := b.fleet.each(ctx, 64, ask); err != nil {
		return err
	}
	asked := time.Since(begin)
	if _, err := b.operate(ctx, "fleet.decide", servefleet.DecideArgs{All: true}); err != nil {
		return err
	}
	approved := time.Since(begin)
	if err := b.fleet.each(ctx, 64, ask); err != nil {
		return err
	}
	b.say("enrolment: %d machines asked in %.1f s, were approved in %.1f s, fetched certificates in %.1f s; each an act in the ledger", b.n, asked.Seconds(), (approved - asked).Seconds(), (time.Since(begin) - approved).Seconds())
	return nil
}

func (b *bench) connect(ctx context.Context) error {
	before, begin := b.cpu(), time.Now()
	if err := b.fleet.each(ctx, 64, func(ctx context.Context, a *agent) error { return a.connect(ctx) }); err != nil {
		return err
	}
	if err := b.wait(ctx, func() bool { return b.fleet.applied.Load() >= int64(2*b.n) }); err != nil {
		return err
	}
	b.say("connect: %d streams in %.1f s, %.2f ms of the server's CPU for each (both certificates, first policy)", b.n, time.Since(begin).Seconds(), (b.cpu()-before).Seconds()*1000/float64(b.n))
	return nil
}

func (b *bench) idle(ctx context.Context) error {
	time.Sleep(b.settle)
	ctx, cancel := context.WithTimeout(ctx, b.watch)
	defer cancel()
	before := b.cpu()
	b.fleet.heartbeats(ctx)
	after := b.resident()
	each := float64(after-b.empty) / 1024 / float64(b.n)
	b.goals = append(b.goals, goal{"memory of the server for each connected agent", each, 60, "KB"})
	b.say("idle: %.1f KB of resident memory for each agent (%.1f MB with %d, %.1f MB without any), %.1f %% of a core for heartbeats each minute (%d answered)",
		each, float64(after)/(1<<20), b.n, float64(b.empty)/(1<<20), (b.cpu()-before).Seconds()/b.watch.Seconds()*100, b.fleet.pongs.Load())
	return nil
}

func (b *bench) push(ctx context.Context) error {
	var all, last, reload []time.Duration
	var each int64
	before := b.cpu()
	for turn := range b.pushes {
		if err := b.writePolicy(turn + 1); err != nil {
			return err
		}
		begin, sent := time.Now(), b.fleet.bytes.Load()
		arrived, err := b.reload(ctx, b.n)
		if err != nil {
			return err
		}
		each = (b.fleet.bytes.Load() - sent) / int64(b.n)
		published, err := b.published(ctx)
		if err != nil {
			return err
		}
		reload = append(reload, published.Sub(begin))
		for _, t := range arrived {
			all = append(all, t.Sub(published))
		}
		last = append(last, slices.MaxFunc(arrived, time.Time.Compare).Sub(published))
		time.Sleep(1500 * time.Millisecond) // generations are numbered by the second
	}
	slices.Sort(all)
	slices.Sort(last)
	slices.Sort(reload)
	b.say("push of a changed rule (%d bytes to each agent), from its signature on: half of the agents have it after %d ms, 99 %% after %d ms; the last of %d after %d ms (median of %d pushes), %d ms (slowest); before that the server reads and compiles the policy in %d ms; %.2f s of the server's CPU for each push",
		each, at(all, 50), at(all, 99), b.n, at(last, 50), b.pushes, at(last, 100), at(reload, 50), (b.cpu()-before).Seconds()/float64(b.pushes))
	b.goals = append(b.goals, goal{"a changed rule of 4 KB: half of the agents have it after", float64(at(all, 50)), 0, "ms"}, goal{"99 % of the agents, over all pushes", float64(at(all, 99)), 1000, "ms"},
		goal{"the last agent, in the median push", float64(at(last, 50)), 1000, "ms"}, goal{"the last agent, in the slowest push", float64(at(last, 100)), 1000, "ms"})
	return nil
}

// published returns when the server had signed what it pushes.
func (b *bench) published(ctx context.Context) (time.Time, error) {
	text, err := b.operate(ctx, "fleet.release", struct{}{})
	if err != nil {
		return time.Time{}, err
	}
	var r servefleet.ReleaseLine
	err = json.Unmarshal([]byte(text), &r)
	return r.Published, err
}

func at(sorted []time.Duration, percent int) int64 {
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)].Milliseconds()
}

func (f *fleet) generations() []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []uint64
	for g := range f.arrived {
		out = append(out, g)
	}
	slices.Sort(out)
	return out
}

func (b *bench) report(ctx context.Context) error {
	before, begin := b.cpu(), time.Now()
	if err := b.fleet.each(ctx, 64, func(ctx context.Context, a *agent) error { return a.report(ctx) }); err != nil {
		return err
	}
	if err := b.wait(ctx, func() bool { return b.fleet.acked.Load() >= int64(b.n) }); err != nil {
		return err
	}
	took := time.Since(begin)
	b.say("findings: one of each agent on record and acknowledged in %.1f s (%.0f a second), %.2f ms of the server's CPU for each", took.Seconds(), float64(b.n)/took.Seconds(), (b.cpu()-before).Seconds()*1000/float64(b.n))
	return nil
}

// restart kills the server and measures how long it takes until all agents are back, when they come as fast as they can.
func (b *bench) restart(ctx context.Context) error {
	if err := b.server.Process.Kill(); err != nil {
		return err
	}
	b.server.Wait()
	for _, a := range b.fleet.agents {
		<-a.closed
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	begin := time.Now()
	if err := b.fleet.each(ctx, 200, func(ctx context.Context, a *agent) error { return a.connect(ctx) }); err != nil {
		return err
	}
	took := time.Since(begin).Seconds()
	b.say("kill -9 of the server: all %d agents were back %.1f s after it served again, without any wait between tries", b.n, took)
	b.goals = append(b.goals, goal{"all agents back after kill -9 of the server", took, 30, "s"})
	return nil
}

func (b *bench) wait(ctx context.Context, done func() bool) error {
	for deadline := time.Now().Add(3 * time.Minute); !done(); {
		if time.Now().After(deadline) {
			return errors.New("it did not come about within three minutes")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// resident returns the resident bytes of the server's process.
func (b *bench) resident() int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", b.server.Process.Pid))
	fields := strings.Fields(string(raw))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// cpu returns what the server's process has used.
func (b *bench) cpu() time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.server.Process.Pid))
	_, rest, ok := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if err != nil || !ok || len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}
