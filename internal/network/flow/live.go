package flow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Stats are what was counted while an interface was listened to.
type Stats struct {
	Packets uint64        // with those that were dropped
	Dropped uint64        // packets that the kernel had no room for
	Gaps    uint64        // times that the interface was down or away
	Missed  time.Duration // how long those were
	Down    bool          // it is now
}

// Times of a listening loop: how often a quiet interface looks whether it is to stop, and how often drops are counted.
const (
	tick  = 200 * time.Millisecond
	count = 10 * time.Second
)

func host32(b []byte, at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
func host16(b []byte, at int) uint16 { return binary.NativeEndian.Uint16(b[at:]) }

// Live listens to the interface until ctx ends, and gives every packet of a flow to the tracker, which is flushed at the end. The
// interface is put into promiscuous mode meanwhile: a mirror port brings what is addressed to others. When it goes down, or away, Live
// waits until it is back; the gap is counted.
func Live(ctx context.Context, name string, t *Tracker) (Stats, error) {
	defer t.Flush()
	l := listener{name: name, tracker: t}
	if err := l.open(); err != nil {
		return Stats{}, err
	}
	err := l.run(ctx)
	if l.ring != nil {
		err = errors.Join(err, l.count(), l.ring.close())
	}
	if err != nil {
		return l.stats, fmt.Errorf("listen to %s: %w", name, err)
	}
	return l.stats, nil
}

// listener is one listening loop.
type listener struct {
	name    string
	ring    *ring // nil while the interface is down
	tracker *Tracker
	stats   Stats
	down    time.Time // since when
	counted time.Time
}

func (l *listener) open() error {
	link, err := net.InterfaceByName(l.name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", l.name, err)
	}
	if l.ring, err = openRing(link); err != nil {
		return fmt.Errorf("listen to %s: %w", l.name, err)
	}
	return nil
}

func (l *listener) run(ctx context.Context) error {
	var p Packet
	ticked := time.Now()
	for ctx.Err() == nil {
		if l.ring == nil {
			l.reopen(ctx)
			continue
		}
		err := l.ring.wait()
		if errors.Is(err, unix.ENETDOWN) {
			err = l.gone()
		}
		if err != nil {
			return err
		}
		if l.ring == nil {
			continue
		}
		l.ring.read(&p, l.tracker.frame)
		now := time.Now()
		if now.Sub(ticked) >= tick {
			l.tracker.Tick(now)
			ticked = now
		}
		if now.Sub(l.counted) >= count {
			if err := l.count(); err != nil {
				return err
			}
			l.counted = now
		}
	}
	return nil
}

// gone reads what is left and begins a gap.
func (l *listener) gone() error {
	var p Packet
	for l.ring.read(&p, l.tracker.frame) {
	}
	err := errors.Join(l.count(), l.ring.close())
	l.ring, l.down = nil, time.Now()
	l.stats.Gaps, l.stats.Down = l.stats.Gaps+1, true
	l.tell()
	return err
}

// reopen waits a tick, and ends the gap when the interface is there and up again.
func (l *listener) reopen(ctx context.Context) {
	timer := time.NewTimer(tick)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case now := <-timer.C:
		l.tracker.Tick(now)
		if link, err := net.InterfaceByName(l.name); err != nil || link.Flags&net.FlagUp == 0 || l.open() != nil {
			return
		}
	}
	l.stats.Missed, l.stats.Down = l.stats.Missed+time.Since(l.down), l.ring == nil
	l.tell()
}

// count adds what the kernel has counted since it was last asked.
func (l *listener) count() error {
	packets, dropped, err := l.ring.count()
	if err != nil {
		return err
	}
	l.stats.Packets += packets
	l.stats.Dropped += dropped
	l.tell()
	return nil
}

func (l *listener) tell() {
	if l.tracker.watch != nil {
		l.tracker.watch(l.stats)
	}
}
