package flow

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is a packet socket whose packets lie in memory that is shared with the kernel (packet(7), TPACKET_V3): a system call is needed for
// a block of packets, or for none when they come fast, and no packet is copied.
type ring struct {
	fd     int
	memory []byte
	block  int    // the one to read next
	kind   uint16 // of link
	loop   bool   // loopback, where each packet is seen going out and coming in
}

// Room for packets that wait while a verdict is sought. A block that is not full is handed over after a moment.
const (
	blockSize   = 1 << 18
	blockCount  = 64
	frameSize   = 1 << 11 // divides a block; packets may be longer
	blockMillis = 20
)

// Places in a block's and a packet's header (linux/if_packet.h: tpacket_block_desc, tpacket3_hdr, and sockaddr_ll behind it).
const (
	atStatus  = 8
	atPackets = 12
	atFirst   = 16

	atNext     = 0
	atSeconds  = 4
	atNanos    = 8
	atCaptured = 12
	atLength   = 16
	atStart    = 24
	atKind     = 48 + 10
	headerSize = 48 + 20
)

// etherAll asks a packet socket for packets of all ether types (packet(7), ETH_P_ALL), in network order.
const etherAll = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8

// openRing listens to an interface. It is put into promiscuous mode meanwhile: a mirror port brings what is addressed to others.
func openRing(link *net.Interface) (*ring, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	r := &ring{fd: fd, kind: linkEthernet, loop: link.Flags&net.FlagLoopback != 0}
	if len(link.HardwareAddr) == 0 && !r.loop { // tunnels have no link header
		r.kind = linkRaw
	}
	if err := r.share(link); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *ring) share(link *net.Interface) error {
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("packet ring version: %w", err)
	}
	request := unix.TpacketReq3{
		Block_size: blockSize, Block_nr: blockCount, Frame_size: frameSize, Frame_nr: blockSize / frameSize * blockCount,
		Retire_blk_tov: blockMillis,
	}
	if err := unix.SetsockoptTpacketReq3(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return fmt.Errorf("packet ring: %w", err)
	}
	memory, err := unix.Mmap(r.fd, 0, blockSize*blockCount, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map packet ring: %w", err)
	}
	r.memory = memory
	if !r.loop {
		member := unix.PacketMreq{Ifindex: int32(link.Index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(r.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &member); err != nil {
			return fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	if err := unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: etherAll, Ifindex: link.Index}); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	return nil
}

func (r *ring) close() error {
	var err error
	if r.memory != nil {
		err = unix.Munmap(r.memory)
		r.memory = nil
	}
	return errors.Join(err, unix.Close(r.fd))
}

// wait waits for the next block, at most for a tick. It returns an error when the interface has gone down.
func (r *ring) wait() error {
	if r.ready() {
		return nil
	}
	fds := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, int(tick/time.Millisecond)); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for packets: %w", err)
	}
	if fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
		code, err := unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		return err
	}
	return nil
}

// status is whose the block is that comes next: the kernel's, or ours. Both sides read and write it in order with the rest.
func (r *ring) status() *uint32 {
	return (*uint32)(unsafe.Pointer(&r.memory[r.block*blockSize+atStatus]))
}

func (r *ring) ready() bool { return atomic.LoadUint32(r.status())&unix.TP_STATUS_USER != 0 }

// read gives the packets of the next block to f, and the block back to the kernel. It reports whether there was one.
func (r *ring) read(p *Packet, f func(kind uint16, frame []byte, p *Packet)) bool {
	if !r.ready() {
		return false
	}
	b := r.memory[r.block*blockSize : (r.block+1)*blockSize]
	count, at := host32(b, atPackets), host32(b, atFirst)
	for range count {
		if uint64(at)+headerSize > blockSize {
			break // the kernel does not write such
		}
		h := b[at:]
		from, captured := uint64(host16(h, atStart)), uint64(host32(h, atCaptured))
		if from+captured <= uint64(len(h)) && !(r.loop && h[atKind] == unix.PACKET_OUTGOING) {
			p.Time = time.Unix(int64(host32(h, atSeconds)), int64(host32(h, atNanos)))
			p.Length = int(host32(h, atLength))
			f(r.kind, h[from:from+captured], p)
		}
		next := host32(h, atNext)
		if next == 0 {
			break
		}
		at += next
	}
	atomic.StoreUint32(r.status(), unix.TP_STATUS_KERNEL)
	r.block = (r.block + 1) % blockCount
	return true
}

// count returns what the kernel has counted since it was last asked.
func (r *ring) count() (packets, dropped uint64, err error) {
	s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, 0, fmt.Errorf("count packets: %w", err)
	}
	return uint64(s.Packets), uint64(s.Drops), nil
}
