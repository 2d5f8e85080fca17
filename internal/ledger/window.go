package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/health"
)

// Window says how much an administrator could still change unseen: the frames, and since when, that no recipient outside has acknowledged.
// ok is false as long as no recipient outside has acknowledged anything: one on the file system of the data, or on this machine, is not outside.
func (l *Ledger) Window(ctx context.Context) (frames uint64, open time.Duration, ok bool) {
	best := uint64(0)
	for _, s := range l.senders {
		if a, known := l.state.get(s.to.Name); known && !a.Near {
			best, ok = max(best, a.Leaves), true
		}
	}
	size := l.Size()
	if best >= size {
		return 0, 0, ok
	}
	if leaves, err := l.leaves(ctx, best/256, size); err == nil {
		if h, err := parseLeaf(leaves[best%256]); err == nil {
			open = max(0, l.o.Now().Sub(h.Time))
		}
	}
	return size - best, open, ok
}

func (l *Ledger) reportEvery(ctx context.Context, d time.Duration) {
	for ctx.Err() == nil {
		l.report()
		pause(ctx, d)
	}
}

// report puts the items "ledger" and "checkpoints" on the health board.
func (l *Ledger) report() {
	if fail := l.failed.Load(); fail != nil {
		l.o.Health.Set("ledger", health.Failed, *fail, "free disk space or repair the file system under ledger/; frames wait in the journal meanwhile")
	} else {
		l.o.Health.Set("ledger", health.OK, fmt.Sprintf("%d frames", l.Size()), "")
	}
	state, detail, advice := l.outside(context.Background())
	l.o.Health.Set("checkpoints", state, detail, advice)
}

// outside says how well checkpoints leave this machine.
func (l *Ledger) outside(ctx context.Context) (state health.State, detail, advice string) {
	frames, open, ok := l.Window(ctx)
	detail = fmt.Sprintf("open window: %.0f s (%d frames that nobody outside has acknowledged)", open.Seconds(), frames)
	state = health.OK
	for _, s := range l.senders {
		if err := s.failure(); err != nil {
			state, advice = health.Degraded, fmt.Sprintf("recipient %s: %v", s.to.Name, err)
		}
	}
	near := l.near()
	switch {
	case len(l.senders) == 0:
		return health.Failed, detail, "set ledger.checkpoints: until a checkpoint is kept outside this machine nothing can be proven"
	case !ok && len(near) > 0:
		detail = fmt.Sprintf("checkpoints are kept only on this machine, or on the file system of the data (%s): an administrator who can change the data can change that copy; %s", strings.Join(near, ", "), detail)
		if advice == "" {
			advice = "mount a folder of another machine there, append-only if it can, or give ledger.checkpoints an address, log server or mailbox that another team owns"
		}
		return health.Degraded, detail, advice
	case !ok:
		return health.Failed, "no recipient outside has acknowledged a checkpoint yet; " + detail, advice
	case open > l.late():
		state = health.Degraded
	}
	return state, detail, advice
}

// near names the recipients that acknowledged a checkpoint where whoever can change the data can change it too.
func (l *Ledger) near() []string {
	var out []string
	for _, s := range l.senders {
		if a, known := l.state.get(s.to.Name); known && a.Near {
			out = append(out, s.to.Name)
		}
	}
	return out
}
