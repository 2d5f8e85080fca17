package flow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// Stats are what the kernel counted while an interface was listened to.
type Stats struct {
	Packets uint64
	Dropped uint64 // packets that the kernel had no room for
}

// etherAll asks a packet socket for packets of all ether types (packet(7), ETH_P_ALL).
const etherAll = 3

// Times of a listening loop: how often a quiet interface looks whether it is to stop, and how often drops are counted.
const (
	tick  = 200 * time.Millisecond
	count = 10 * time.Second
)

// receiveBuffer is the room that the kernel is asked for: packets wait there while a verdict is sought.
const receiveBuffer = 16 << 20

// Live listens to the interface until ctx ends, and gives every packet of a flow to the tracker, which is flushed at the end. The
// interface is put into promiscuous mode meanwhile: a mirror port brings what is addressed to others.
func Live(ctx context.Context, name string, t *Tracker) (Stats, error) {
	defer t.Flush()
	link, err := net.InterfaceByName(name)
	if err != nil {
		return Stats{}, fmt.Errorf("interface %s: %w", name, err)
	}
	conn, err := packet.Listen(link, packet.Raw, etherAll, nil)
	if err != nil {
		return Stats{}, fmt.Errorf("listen to %s: %w", name, err)
	}
	defer conn.Close()
	if link.Flags&net.FlagLoopback == 0 {
		if err := conn.SetPromiscuous(true); err != nil {
			return Stats{}, fmt.Errorf("listen to %s: promiscuous mode: %w", name, err)
		}
	}
	enlarge(conn)
	l := listener{conn: conn, kind: linkEthernet, tracker: t}
	if len(link.HardwareAddr) == 0 && link.Flags&net.FlagLoopback == 0 { // tunnels have no link header
		l.kind = linkRaw
	}
	err = l.run(ctx)
	if err == nil {
		err = l.count()
	}
	if err != nil {
		return l.stats, fmt.Errorf("listen to %s: %w", name, err)
	}
	return l.stats, nil
}

// enlarge asks for a larger receive buffer. Less room is no error: drops are counted.
func enlarge(conn *packet.Conn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
	})
}

// listener is one listening loop.
type listener struct {
	conn    *packet.Conn
	kind    uint16
	tracker *Tracker
	stats   Stats
}

func (l *listener) run(ctx context.Context) error {
	buf := make([]byte, 1<<16+64)
	var p Packet
	var deadline, counted time.Time
	for ctx.Err() == nil {
		now := time.Now()
		if deadline.Sub(now) < tick/2 { // not at every packet: it is a system call
			deadline = now.Add(tick)
			if err := l.conn.SetReadDeadline(deadline); err != nil {
				return err
			}
			l.tracker.Tick(now)
		}
		if now.Sub(counted) > count {
			if err := l.count(); err != nil {
				return err
			}
			counted = now
		}
		n, _, err := l.conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			deadline = time.Time{}
			continue
		}
		if err != nil {
			return err
		}
		p.Time, p.Length = time.Now(), n
		l.tracker.frame(l.kind, buf[:n], &p)
	}
	return nil
}

// count adds what the kernel has counted since it was last asked.
func (l *listener) count() error {
	stats, err := l.conn.Stats()
	if err != nil {
		return fmt.Errorf("count packets: %w", err)
	}
	l.stats.Packets += uint64(stats.Packets)
	l.stats.Dropped += uint64(stats.Drops)
	if l.tracker.watch != nil {
		l.tracker.watch(l.stats)
	}
	return nil
}
