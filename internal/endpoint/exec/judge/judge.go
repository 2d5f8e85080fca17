// Package judge is the worker of the execution control: it says which programs may start.
//
// The holder sends it each file that somebody wants to start, as an open descriptor. What the file is, its content tells, through the
// scanner's sandbox: hash, signer, package or product, build and bundle, tokens. Its name and place count for nothing but the record. Policy
// decides, for who starts it, and what is known of a file is kept by device, inode, size and time of change. Nothing here waits for a disk,
// a log or a person: what is to be told is handed over without waiting, or dropped and counted.
package judge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Mode is how much is stopped.
type Mode string

// The modes.
const (
	Monitor  Mode = "monitor"   // nothing is stopped, all is recorded
	DenyList Mode = "deny-list" // what policy forbids is stopped
	Learn    Mode = "learn"     // nothing is stopped, and what lockdown would stop is recorded too
	Lockdown Mode = "lockdown"  // what neither a package brought nor anybody approved is stopped too
)

// Watches reports whether nothing is stopped.
func (m Mode) Watches() bool { return m == Monitor || m == Learn }

// Locks reports whether what no package brought is looked at.
func (m Mode) Locks() bool { return m == Learn || m == Lockdown }

// Identifier tells what a file is. A scan.Scanner is one.
type Identifier interface {
	Identify(ctx context.Context, f *os.File, path string) ([]scan.Program, []scan.Problem, error)
	Medium(device uint64) string
	Steady(device uint64) bool
	Owner(uid uint32) string
}

// Rules are the policy in force.
type Rules struct {
	Identifier   Identifier // by the catalog in force
	Policy       policy.Decider
	Generation   uint64       // another one for each policy and catalog
	NotInspected event.Action // of what could not be looked into
	Varying      bool         // rules without messengers depend on who asks, and when: nothing may be remembered for all
}

// Exceptions tells what was approved.
type Exceptions interface {
	Approved(sha256 string, now time.Time) bool
}

// Trust tells what the package manager brought. It is asked in lockdown only.
type Trust interface {
	Trusted(f *os.File) bool
}

// Packages tells which messenger's package brought a file.
type Packages interface {
	Origin(ctx context.Context, f *File) Origin
}

// File is a file that somebody starts.
type File struct {
	*os.File
	Path   string
	Stat   *unix.Stat_t
	Thread int32 // who starts it
	Loose  bool  // others than root can change it, or what it lies in
}

// Origin is what packages tell of a file. The zero Origin says that no messenger's package has to do with it.
type Origin struct {
	Match   *catalog.Match // what the catalog knows about the package, nil when that is no messenger
	Claimed bool           // Match stands in a path, an image or a file that who starts it may have made: it counts only to refuse
	Unsure  bool           // the answer may be another one next time: it is not remembered
}

// Options are what a Judge works with. Rules are needed.
type Options struct {
	Rules      Rules
	Mode       Mode
	Removable  bool // programs on removable media do not start unless a rule or an exception allows them
	Exceptions Exceptions
	Trust      Trust
	Packages   Packages // nil: none is asked
	Loaders    []string // SHA-256 of dynamic loaders: refused when started by hand in lockdown, wherever they lie
	Host       event.Host
	Gone       func() func(device uint64) bool // tells which devices may be others since it was asked last, nil when none
	Timeout    time.Duration                   // for the look at one file; default 1.5 s, less than the holder waits
	Stopped    func(Stop)                      // is told of what policy stops; never waits
	Allowed    func(Allowed)                   // is told of files that root alone can change, when they start from now on without asking; never waits
	Stopping   func(Stop)                      // is told the same before the answer: it copies, and asks nobody for anything
	Now        func() time.Time
}

// Stop is a start that policy stops, and how the person may be told.
type Stop struct {
	Event    *event.Event
	UID      uint32
	Terminal uint64 // device number of the controlling terminal, 0 when there is none
	Refused  bool   // it did not start
}

const (
	workers     = 32 // files that are decided side by side
	perUser     = 2  // of them that are looked at for one user, less than there are children to look
	slowPerUser = 1  // of those that are looked at after their time
	slowest     = 2  // of these for all
)

// Judge decides. It is safe for concurrent use.
type Judge struct {
	o     Options
	cache *cache
	rules atomic.Pointer[Rules]
	must  atomic.Pointer[map[wire.Key]struct{}]
	looks turns
	slow  chan struct{} // bounds what goes on being looked at after its time
	slows turns

	opening chan struct{} // bounds the folders that are being opened
	wg      sync.WaitGroup

	leaving sync.Mutex

	mu      sync.Mutex
	loading map[int32]time.Time // threads that may ask for the loader, since they start a program that needs it

	asked, refused, unseen atomic.Int64
}

// Counts are what a Judge did so far.
type Counts struct {
	Asked, Refused, NotInspected int64
}

// New returns a Judge.
func New(o Options) *Judge {
	if o.Timeout == 0 {
		o.Timeout = 1500 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Stopped == nil {
		o.Stopped = func(Stop) {}
	}
	if o.Gone == nil {
		o.Gone = func() func(uint64) bool { return nil }
	}
	if o.Allowed == nil {
		o.Allowed = func(Allowed) {}
	}
	if o.Stopping == nil {
		o.Stopping = func(Stop) {}
	}
	j := &Judge{o: o, cache: newCache(), slow: make(chan struct{}, slowest), opening: make(chan struct{}, maxOpening), loading: map[int32]time.Time{}}
	j.looks.each, j.slows.each = perUser, slowPerUser
	j.rules.Store(&o.Rules)
	j.must.Store(&map[wire.Key]struct{}{})
	return j
}

// Counts tells what was done so far.
func (j *Judge) Counts() Counts {
	return Counts{j.asked.Load(), j.refused.Load(), j.unseen.Load()}
}

// Socket is the judge's end of the socket to the holder.
type Socket int

func (s Socket) send(m *wire.Message) error {
	for {
		err := unix.Send(int(s), m.Append(nil), unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// SetRules puts a policy in force. What was allowed under another one is asked again.
func (j *Judge) SetRules(s Socket, r Rules) error {
	j.rules.Store(&r)
	j.cache.clear()
	return s.send(&wire.Message{Kind: wire.Generation, Generation: r.Generation})
}

// SetMust tells which programs the machine cannot do without: they start whatever policy says, and while there is no worker.
func (j *Judge) SetMust(s Socket, keys []wire.Key) error {
	known := *j.must.Load()
	next := make(map[wire.Key]struct{}, len(keys))
	for _, k := range keys {
		next[k] = struct{}{}
		if _, ok := known[k]; ok {
			continue
		}
		if err := s.send(&wire.Message{Kind: wire.MustRun, Key: k}); err != nil {
			return fmt.Errorf("judge: %w", err)
		}
	}
	j.must.Store(&next)
	return nil
}

// Forget has everything asked and decided anew, as after an exception ended.
func (j *Judge) Forget() { j.cache.clear() }

// Serve says that the worker is ready, and answers until the holder hangs up or the context ends.
func (j *Judge) Serve(ctx context.Context, s Socket) error {
	if err := s.send(&wire.Message{Kind: wire.Ready}); err != nil {
		return fmt.Errorf("judge: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = unix.Shutdown(int(s), unix.SHUT_RD) })
	defer stop()
	errs := make(chan error, workers)
	for range workers {
		go func() { errs <- j.listen(ctx, s) }()
	}
	var err error
	for range workers {
		err = errors.Join(err, <-errs)
	}
	j.wg.Wait()
	return err
}

// listen takes one ask after the other. Each of the threads that do so waits in the kernel: no hand-over costs time.
func (j *Judge) listen(ctx context.Context, s Socket) error {
	var b [wire.Size + 1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(int(s), b[:], oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("judge: %w", err)
		case n == 0:
			return nil
		}
		fd, err := descriptor(oob[:oobn])
		if err != nil {
			continue // the holder decides what has no file
		}
		m, err := wire.Parse(b[:n])
		if err != nil || m.Kind != wire.Ask {
			_ = unix.Close(fd)
			continue
		}
		if err := j.reply(ctx, s, &m, os.NewFile(uintptr(fd), "asked")); err != nil {
			return fmt.Errorf("judge: %w", err)
		}
	}
}

func descriptor(oob []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return 0, wire.ErrMessage
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, wire.ErrMessage
	}
	return fds[0], nil
}

// reply decides one ask and answers it, later when it waits for a turn.
func (j *Judge) reply(ctx context.Context, s Socket, m *wire.Message, f *os.File) error {
	j.asked.Add(1)
	q := &question{judge: j, rules: j.rules.Load(), ask: m, file: f, begun: time.Now()}
	if d, ok := q.atOnce(); ok {
		return j.answer(s, q, d)
	}
	j.leave() // before what is known is used
	if q.cached() != nil {
		return j.answer(s, q, q.decide(ctx))
	}
	if back, ok := j.looks.now(q.uid()); ok {
		defer back()
		return j.answer(s, q, q.decide(ctx))
	}
	j.wg.Go(func() {
		limited, cancel := context.WithDeadline(ctx, q.begun.Add(j.o.Timeout))
		defer cancel()
		if back, err := j.looks.wait(limited, q.uid()); err == nil {
			defer back()
		} else {
			q.crowded = true
		}
		_ = j.answer(s, q, q.decide(ctx)) // when the holder hung up, nobody waits for it
	})
	return nil
}

// answer answers one ask. Only then anybody is told.
func (j *Judge) answer(s Socket, q *question, d decision) error {
	m := q.ask
	answer := wire.Message{Kind: wire.Answer, ID: m.ID, Generation: q.rules.Generation}
	if d.allow {
		answer.Flags |= wire.Allow
		if d.remember {
			answer.Flags |= wire.Remember
		}
		if d.ignore {
			answer.Flags |= wire.Ignore
		}
	} else {
		j.refused.Add(1)
	}
	if d.stop != nil {
		d.stop.Terminal = terminal(m.Thread) // as long as whoever asked waits for us
		d.stop.Refused = !d.allow
		j.o.Stopping(*d.stop)
	}
	err := s.send(&answer)
	if !q.kept {
		_ = q.file.Close()
	}
	if d.stop != nil {
		j.o.Stopped(*d.stop)
	}
	if d.remember && d.ignore {
		j.o.Allowed(Allowed{q.rules.Generation, q.key})
	}
	return err
}
