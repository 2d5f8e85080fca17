package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/spool"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// source is what the server has in force, which tests change.
type source struct {
	mu      sync.Mutex
	version string
	policy  []byte
	catalog []byte
}

func (s *source) set(version, policy string, catalog []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version, s.policy, s.catalog = version, []byte(policy), catalog
}

func (s *source) Version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

func (s *source) Policy() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policy
}

func (s *source) Catalog() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.catalog, nil
}

func (s *source) Groups(h event.Host) []string {
	if h.Person == "alice" {
		return []string{"sales"}
	}
	return nil
}

func (s *source) Check(a fleet.Approval) error {
	if a.App == "nosuchapp" || a.Subject == fleet.OneGroup && a.Name != "sales" {
		return errors.New("not in the policy, and not in the catalog")
	}
	return nil
}

// recorder keeps what was recorded; while broken it refuses.
type recorder struct {
	mu     sync.Mutex
	events []*event.Event
	broken bool
	more   chan struct{}
}

func (r *recorder) Record(_ context.Context, events ...*event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken {
		return errors.New("the disk is full")
	}
	r.events = append(r.events, events...)
	select {
	case r.more <- struct{}{}:
	default:
	}
	return nil
}

func (r *recorder) list() []*event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *recorder) acts() string {
	var out []string
	for _, e := range r.list() {
		if e.Act != nil {
			out = append(out, e.Act.Action)
		}
	}
	return strings.Join(out, " ")
}

// holds are the hosts that are held.
type holds struct {
	mu    sync.Mutex
	names map[string]bool
}

func (h *holds) HostHeld(_ context.Context, host event.Host) (string, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return "matter 7", h.names[host.Name], nil
}

// rig is a running fleet server.
type rig struct {
	*fleet.Server
	t        *testing.T
	dir      string
	source   *source
	found    *recorder
	acts     *recorder
	holds    *holds
	clock    clock.Clock
	stop     func()
	address  string
	board    *health.Board
	noHolds  bool
	maxHosts int
}

const policyText = "version: 1\nrules: [{id: none, apps: [\"*\"], verdict: block}]\n"

func newRig(t *testing.T) *rig {
	at, err := loopback.Address() // it is stopped and started again there
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: t.TempDir(), source: &source{}, found: &recorder{more: make(chan struct{}, 1)}, acts: &recorder{more: make(chan struct{}, 1)},
		holds: &holds{names: map[string]bool{}}, clock: clock.System{}, address: at, board: health.NewBoard(time.Now)}
	r.source.set("v1", policyText, nil)
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// start starts the server, again on the same data and address after stop.
func (r *rig) start() {
	r.t.Helper()
	people, err := identity.ParsePeople(strings.NewReader("person,host\nalice,laptop-17\nbob,laptop-55\n"))
	if err != nil {
		r.t.Fatal(err)
	}
	d := fleet.Deps{Source: r.source, Directory: people, Recorder: r.found, Acts: r.acts, Holds: r.holds, Board: r.board, Clock: r.clock, Log: slog.New(slog.DiscardHandler)}
	if r.noHolds {
		d.Holds = nil
	}
	s, err := fleet.New(fleet.Config{Listen: r.address, Data: r.dir, Keys: r.dir + "/keys", Heartbeat: 5 * time.Second, MaxHosts: r.maxHosts, Version: "test"}, d)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Server, r.address = s, s.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	once := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
	r.stop = once
}

func (r *rig) code() protocol.Code {
	r.t.Helper()
	text, err := r.NewCode(r.t.Context(), "admin", "test", time.Hour, 5)
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := protocol.ParseCode(text)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// agent is one machine.
type agent struct {
	*client.Client
	r       *rig
	dir     string
	name    string
	server  string // another than that where it enrolled
	spool   *spool.Spool
	applied chan client.Bundle
	refuse  error // of the next Apply
	execute func(o protocol.Order) protocol.Report
	now     func() time.Time
	stop    func()
	log     *journal
}

// journal is what an agent logs.
type journal struct {
	mu sync.Mutex
	bytes.Buffer
}

// Write implements io.Writer.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.Buffer.Write(b)
}

// String returns all of it.
func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.Buffer.String()
}

// Apply implements client.Applier.
func (a *agent) Apply(_ context.Context, b client.Bundle) error {
	if _, err := b.File(); err != nil {
		return err
	}
	if a.refuse != nil {
		return a.refuse
	}
	a.applied <- b
	return nil
}

// Execute implements client.Executor.
func (a *agent) Execute(_ context.Context, o protocol.Order) protocol.Report { return a.execute(o) }

// enrol enrols a machine and approves it.
func (r *rig) enrol(name string) *agent {
	r.t.Helper()
	a := &agent{log: &journal{}, r: r, dir: r.t.TempDir(), name: name, applied: make(chan client.Bundle, 100)}
	a.execute = func(o protocol.Order) protocol.Report { return protocol.Report{} }
	err := client.Enrol(r.t.Context(), client.EnrolOptions{Dir: a.dir, Server: r.address, Code: r.code(), Machine: client.Machine{Name: name, Version: "1"}, Every: 20 * time.Millisecond,
		Waiting: func(print string) {
			if _, err := r.Approve(r.t.Context(), "admin", print); err != nil {
				r.t.Error(err)
			}
		}})
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// run starts the agent, again after stop.
func (a *agent) run() {
	a.r.t.Helper()
	var err error
	if a.spool, err = spool.Open(a.dir+"/spool", 0); err != nil {
		a.r.t.Fatal(err)
	}
	a.Client, err = client.New(a.r.t.Context(), client.Options{Dir: a.dir, Server: a.server, Machine: client.Machine{Name: a.name, Version: "1", Mode: "once"}, Apply: a, Execute: a, Spool: a.spool, Now: a.now, FirstTry: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(a.log, nil))})
	if err != nil {
		a.r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	a.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		a.spool.Close()
	})
	a.r.t.Cleanup(a.stop)
}

// next is the next bundle that is brought into force.
func (a *agent) next() client.Bundle {
	a.r.t.Helper()
	select {
	case b := <-a.applied:
		return b
	case <-time.After(2 * time.Minute):
		a.r.t.Fatal("no bundle came")
	}
	return client.Bundle{}
}

// until waits for a bundle that is as wanted.
func (a *agent) until(want func(b client.Bundle) bool) client.Bundle {
	a.r.t.Helper()
	for {
		if b := a.next(); want(b) {
			return b
		}
	}
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after half a minute", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
