package flow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/mdlayher/packet"
)

// Stats are what the kernel counted while an interface was listened to.
type Stats struct {
	Packets uint64
	Dropped uint64 // packets that the kernel had no room for
}

// etherAll asks a packet socket for packets of all ether types (packet(7), ETH_P_ALL).
const etherAll = 3

// tick is how often a quiet interface looks whether it is to stop.
const tick = 200 * time.Millisecond

// Live listens to the interface until ctx ends, and gives every packet of a flow to the tracker, which is flushed at the end.
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
	kind := uint16(linkEthernet)
	if len(link.HardwareAddr) == 0 && link.Flags&net.FlagLoopback == 0 { // tunnels have no link header
		kind = linkRaw
	}
	if err := listen(ctx, conn, kind, t); err != nil {
		return Stats{}, fmt.Errorf("listen to %s: %w", name, err)
	}
	stats, err := conn.Stats()
	if err != nil {
		return Stats{}, fmt.Errorf("count packets of %s: %w", name, err)
	}
	return Stats{Packets: uint64(stats.Packets), Dropped: uint64(stats.Drops)}, nil
}

func listen(ctx context.Context, conn *packet.Conn, kind uint16, t *Tracker) error {
	buf := make([]byte, 1<<16+64)
	var p Packet
	for ctx.Err() == nil {
		if err := conn.SetReadDeadline(time.Now().Add(tick)); err != nil {
			return err
		}
		n, _, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Tick(time.Now())
			continue
		}
		if err != nil {
			return err
		}
		p.Time, p.Length = time.Now(), n
		t.frame(kind, buf[:n], &p)
	}
	return nil
}
