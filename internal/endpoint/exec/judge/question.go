package judge

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Rules of verdicts that no rule of the policy gave.
const (
	RuleException = "exception"       // somebody approved it
	RuleRemovable = "removable-media" // it lies on a stick or disc, or in an image that a user may change below it
	RuleLockdown  = "lockdown"        // no package brought it, and nobody approved it
	RuleLoader    = "loader"          // a dynamic loader, started by hand to start something else
)

// What these say to the person.
const (
	sayRemovable = "Programs on removable media do not run on this machine."
	sayImage     = "Programs in images that others than the administrator can change do not run on this machine."
	sayLockdown  = "Only programs that were installed or approved run on this machine."
	sayLoader    = "The loader of programs does not run by itself on this machine."
)

const (
	settle     = time.Second // a file that changed less long ago may change again within the same tick of its clock
	longLook   = time.Minute // how long a file is looked at after its time, for whoever starts it again
	maxScript  = 64 << 20    // what is no program is hashed up to here
	loaderTime = time.Second // from the start of a program to the request for its loader
	maxLoading = 1 << 14
	removable  = "removable" // scan's word
)

// question is one ask on its way to an answer.
type question struct {
	judge *Judge
	rules *Rules
	ask   *wire.Message
	file  *os.File
	begun time.Time
	stat  unix.Stat_t
	key   wire.Key
	must  bool
	user  *uint32 // who asks, once that was looked up
	path  string
	kept  bool // the file is still looked at, and closed there

	crowded bool // its time went by while other files of its user were looked at
}

// decision is the answer to a question.
type decision struct {
	allow, remember, ignore bool
	once                    bool // it may end by itself
	stop                    *Stop
}

// atOnce decides what needs no looking at.
func (q *question) atOnce() (d decision, ok bool) {
	if err := unix.Fstat(int(q.file.Fd()), &q.stat); err != nil {
		return decision{allow: q.judge.o.Mode.Watches()}, true
	}
	q.key = wire.KeyOf(&q.stat)
	_, q.must = (*q.judge.must.Load())[q.key]
	if q.must && !q.judge.o.Mode.Locks() {
		return decision{allow: true}, true
	}
	if q.ask.Has(wire.Open) && (q.must || !q.judge.o.Mode.Locks() || !q.loadable() || q.byRoot()) {
		return decision{allow: true, ignore: wire.RootOnly(&q.stat)}, true
	}
	return decision{}, false
}

// decide decides what must be looked at. Whatever fails on the way is "not inspected", and policy says what that means.
func (q *question) decide(ctx context.Context) decision {
	q.path, _ = os.Readlink("/proc/self/fd/" + strconv.Itoa(int(q.file.Fd()))) // for the record; without it the record says less
	known := q.withPackage(ctx, q.identify(ctx))
	if !q.ask.Has(wire.Open) && !q.must {
		known = q.withBeside(ctx, known)
	}
	d := decision{allow: true}
	if !q.must {
		d = q.judgeAll(known)
	}
	q.expectLoader(known, &d)
	lasting := known.lasting && known.reason == "" && !known.recognised && !q.rules.Varying
	d.remember = d.allow && d.stop == nil && !d.once && lasting
	d.ignore = d.remember && wire.RootOnly(&q.stat)
	return d
}

// cached returns what is known of the file where nobody can have changed it since, nil when nothing is.
func (q *question) cached() *known {
	if !q.ask.Has(wire.Quiet) {
		return nil
	}
	return q.judge.cache.get(q.key)
}

// identify returns what the file is.
func (q *question) identify(ctx context.Context) *known {
	if k := q.cached(); k != nil {
		return k
	}
	limited, cancel := context.WithDeadline(ctx, q.begun.Add(q.judge.o.Timeout))
	defer cancel()
	k := q.look(limited, q.key)
	if k.lasting && k.reason == "" {
		q.judge.cache.put(q.key, k)
	}
	if k.reason == event.ReasonTimeout && !q.crowded {
		q.lookOn(ctx, q.key)
	}
	return k
}

// look looks at the file itself.
func (q *question) look(ctx context.Context, key wire.Key) *known {
	k := q.lookAt(ctx, q.file, q.path)
	k.medium = q.rules.Identifier.Medium(uint64(q.stat.Dev))
	k.loose = k.medium != removable && !q.rules.Identifier.Steady(uint64(q.stat.Dev))
	if len(k.programs) == 0 && k.reason == "" {
		k.programs, k.reason = q.plain(q.file, q.path, k.medium)
	}
	k.generic = k.runtime() || isGeneric(q.file, q.stat.Size)
	if q.judge.o.Trust != nil && k.reason == "" {
		k.trusted = q.judge.o.Trust.Trusted(q.file)
	}
	k.lasting = q.lasting(key, k)
	return k
}

// lookAt says what a file is by its content.
func (q *question) lookAt(ctx context.Context, f *os.File, path string) *known {
	programs, problems, err := q.rules.Identifier.Identify(ctx, f, path)
	k := &known{programs: programs, recognised: slices.ContainsFunc(programs, func(p scan.Program) bool { return p.App != "" })}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		k.reason = event.ReasonTimeout
	case err != nil:
		k.reason = event.ReasonUnavailable
	default:
		k.reason = blind(programs, problems)
	}
	return k
}

// blind says why the file itself could not be looked into, "" when it could. A container inside that is not opened is none of this: starting
// the file starts what stands at its front.
func blind(programs []scan.Program, problems []scan.Problem) string {
	for _, p := range problems {
		switch p.Reason {
		case event.ReasonEncrypted, event.ReasonTooDeep, event.ReasonBomb, event.ReasonOversize, event.ReasonUnparseable, "unsupported":
			continue // its hash and tokens are known
		}
		if len(programs) == 0 || p.Inside == "" {
			return p.Reason
		}
	}
	return ""
}

// plain is a file that is no program by its format, as a script: its hash is what is known.
func (q *question) plain(f *os.File, path, medium string) ([]scan.Program, string) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, event.ReasonUnreadable
	}
	if st.Size > maxScript {
		return nil, event.ReasonOversize
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, st.Size)); err != nil {
		return nil, event.ReasonUnreadable
	}
	return []scan.Program{{Program: event.Program{Path: path, SHA256: hex.EncodeToString(h.Sum(nil)), Size: st.Size,
		Owner: q.rules.Identifier.Owner(st.Uid), Media: medium}}}, ""
}

// lasting reports whether what is known of the file holds as long as its key is the same: nobody had it open for writing, its file system
// marks every change, also through a mapping, and the change is not so fresh that the next would bear the same time. Removable media, and
// images that somebody may write, change below their file systems.
func (q *question) lasting(key wire.Key, k *known) bool {
	if !q.ask.Has(wire.Quiet) || q.ask.Key != key || k.medium == removable || k.loose {
		return false
	}
	if wire.RootOnly(&q.stat) {
		return true
	}
	return q.judge.o.Now().UnixNano()-key.Changed > int64(settle) && marksChanges(int(q.file.Fd()))
}

// marksChanges reports whether the file system of a file sets the time of change also when a page of a shared mapping is written. tmpfs does
// not where the page was read first.
func marksChanges(fd int) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false
	}
	switch int64(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.SQUASHFS_MAGIC, unix.ISOFS_SUPER_MAGIC,
		unix.EROFS_SUPER_MAGIC_V1:
		return true
	}
	return false
}

// lookOn goes on looking at a file whose time is over, so that the next start has its answer.
func (q *question) lookOn(ctx context.Context, key wire.Key) {
	q.kept = q.later(ctx, func(ctx context.Context) {
		defer q.file.Close()
		var now unix.Stat_t
		k := q.look(ctx, key)
		err := unix.Fstat(int(q.file.Fd()), &now)
		// The holder's lease is over: who wrote meanwhile changed the time, since nobody had the file open before.
		if k.lasting && k.reason == "" && err == nil && wire.KeyOf(&now) == key {
			q.judge.cache.put(key, k)
		}
	})
}

// later does something after the answer, unless enough is done so already, for this user or at all.
func (q *question) later(ctx context.Context, do func(context.Context)) bool {
	back, ok := q.judge.slows.now(q.uid())
	if !ok {
		return false
	}
	select {
	case q.judge.slow <- struct{}{}:
	default:
		back()
		return false
	}
	q.judge.wg.Go(func() {
		defer back()
		defer func() { <-q.judge.slow }()
		ctx, cancel := context.WithTimeout(ctx, longLook)
		defer cancel()
		do(ctx)
	})
	return true
}

// judgeAll asks policy about all that the file is and carries; the first that is stopped decides.
func (q *question) judgeAll(k *known) decision {
	j := q.judge
	base := q.event(k)
	if len(k.programs) == 0 {
		return q.carry(k, base)
	}
	var first *event.Event
	once := false
	for i := range k.programs {
		e := *base
		p := k.programs[i].Program
		p.Path = q.path
		e.Program, e.Evidence = &p, k.programs[i].Evidence
		name, unproven := k.unproven[i]
		if i > 0 && p.App == "" && !unproven {
			continue // parts of a program that nobody knows
		}
		e.Verdict = q.rules.Policy.Decide(&policy.Input{Event: &e, Now: j.o.Now(), Final: true})
		if first == nil {
			first = &e
		}
		switch {
		case !e.Verdict.Action.Stops() && unproven: // that the runtime may start says nothing of what it runs
			d := q.carry(k.only(i), &e)
			if e.Verdict.Action.Stops() {
				e.Verdict.Reason = cmp.Or(e.Verdict.Reason, "it runs "+name)
				return d
			}
			once = once || d.once
		case !e.Verdict.Action.Stops():
		case k.own == 0 || i < k.own:
			return q.carry(k, &e)
		case !q.excepted(p.SHA256): // it lies beside: that the program was approved says nothing of it
			return q.carry(k.only(i), &e)
		}
	}
	d := q.carry(k, first)
	d.once = d.once || once
	return d
}

// event is the event of this start, still without program and verdict.
func (q *question) event(k *known) *event.Event {
	now := q.judge.o.Now()
	e := &event.Event{Kind: event.ProgramRun, Time: now, Received: now, Connector: "agent", Host: q.judge.o.Host,
		From: event.Party{Handle: q.rules.Identifier.Owner(q.uid())}}
	if k.reason != "" {
		e.NotChecked = []event.NotInspected{{Inspector: "program", Reason: k.reason, File: q.path}}
	}
	e.Program = &event.Program{Path: q.path, Size: q.stat.Size, Media: k.medium}
	return e
}

// carry makes a decision of a verdict, by the mode and by what no rule of the policy says.
func (q *question) carry(k *known, e *event.Event) decision {
	j, v := q.judge, &e.Verdict
	if v.Policy == "" {
		*v = q.rules.Policy.Decide(&policy.Input{Event: e, Now: j.o.Now(), Final: true})
	}
	approved, rooted := q.overrule(k, v)
	d := decision{allow: !v.Action.Stops() || !v.Enforced || j.o.Mode.Watches(), once: approved || rooted}
	v.Enforced = v.Enforced && (!v.Action.Stops() || !d.allow)
	if v.Action.Stops() || len(v.Obligations) > 0 {
		d.stop = q.stop(e)
	}
	return d
}

// overrule changes the verdict where an exception is in force, or where no rule decides and the agent's own settings do. A stick needs no
// looking into, so it comes before what could not be looked into. It reports an exception, and that root starts what only root can change:
// lockdown is not for him, and the maintainer scripts of packages are in no list.
func (q *question) overrule(k *known, v *event.Verdict) (approved, rooted bool) {
	j := q.judge
	if q.excepted(k.sum()) {
		v.Action, v.Rule, v.Say, v.Enforced = event.Allow, RuleException, "", true
		return true, false
	}
	if v.Rule != policy.OtherwiseRule || v.Action.Stops() {
		return false, false
	}
	switch {
	case j.o.Removable && k.medium == removable:
		v.Action, v.Rule, v.Say = event.Block, RuleRemovable, sayRemovable
	case j.o.Removable && k.loose:
		v.Action, v.Rule, v.Say = event.Block, RuleRemovable, sayImage
	case k.reason != "" && q.rules.NotInspected.Stops():
		j.unseen.Add(1)
		v.Action, v.Reason = q.rules.NotInspected, "not inspected: "+k.reason
		v.Say = "This program could not be looked into (" + k.reason + "). Try again in a moment."
	case j.o.Mode.Locks() && !k.trusted:
		if wire.RootOnly(&q.stat) && q.byRoot() {
			return false, true
		}
		v.Action, v.Rule, v.Say, v.Enforced = event.Block, RuleLockdown, sayLockdown, true
	}
	return false, false
}

// excepted reports whether a file was approved.
func (q *question) excepted(sum string) bool {
	return q.judge.o.Exceptions != nil && sum != "" && q.judge.o.Exceptions.Approved(sum, q.judge.o.Now())
}

func (q *question) stop(e *event.Event) *Stop {
	e.ID = event.NewID()
	return &Stop{Event: e, UID: q.uid()}
}
