package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	wire "github.com/miekg/dns"
	"golang.org/x/net/ipv4"
)

// Bounds of the two transports.
const (
	readersPerSocket = 4
	packetBatch      = 32
	maxQuery         = 4096 // bytes of one question, far above any that is honest
	tcpIdle          = 10 * time.Second
	tcpWrite         = 5 * time.Second
	tcpQuestions     = 1000 // of one connection
	bindAttempts     = 10
)

// listeners are the open sockets.
type listeners struct {
	udp   []*net.UDPConn
	tcp   []*net.TCPListener
	addrs []string
}

func (l *listeners) close() {
	for _, c := range l.udp {
		c.Close()
	}
	for _, c := range l.tcp {
		c.Close()
	}
}

// listen opens every address for UDP and TCP, both on one port.
func listen(addrs []string) (*listeners, error) {
	l := &listeners{}
	for _, a := range addrs {
		if err := l.open(a); err != nil {
			l.close()
			return nil, fmt.Errorf("listen on %s: %w", a, err)
		}
	}
	return l, nil
}

func (l *listeners) open(addr string) error {
	udpAddr, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		u, err := net.ListenUDP("udp", udpAddr)
		if err != nil {
			return err
		}
		local := u.LocalAddr().(*net.UDPAddr)
		t, err := net.ListenTCP("tcp", &net.TCPAddr{IP: local.IP, Port: local.Port, Zone: local.Zone})
		if err != nil {
			u.Close()
			if udpAddr.Port == 0 && attempt < bindAttempts {
				continue // the free UDP port was no free TCP port
			}
			return err
		}
		l.udp, l.tcp = append(l.udp, u), append(l.tcp, t)
		l.addrs = append(l.addrs, local.String())
		return nil
	}
}

// packets is what one reader holds: room for a batch of questions and as many answers, so that a busy resolver makes few system calls.
type packets struct {
	in, out []ipv4.Message
	room    [][]byte // of answers
}

func newPackets() *packets {
	p := &packets{in: make([]ipv4.Message, packetBatch), out: make([]ipv4.Message, 0, packetBatch), room: make([][]byte, packetBatch)}
	for i := range p.in {
		p.in[i].Buffers = [][]byte{make([]byte, maxQuery)}
		p.room[i] = make([]byte, ednsSize)
	}
	return p
}

// answer puts an answer into the next batch.
func (p *packets) answer(packed []byte, to net.Addr) {
	p.out = append(p.out, ipv4.Message{Buffers: [][]byte{packed}, Addr: to})
}

// send writes the batch. An answer that cannot be sent is left out: its client will ask again.
func (p *packets) send(conn *ipv4.PacketConn) {
	for rest := p.out; len(rest) > 0; {
		n, err := conn.WriteBatch(rest, 0)
		if err != nil || n == 0 {
			n = max(n, 0) + 1
		}
		rest = rest[min(n, len(rest)):]
	}
	p.out = p.out[:0]
}

// serveUDP reads packets until the socket closes. What policy or cache answer is answered here, the rest in a goroutine of its own.
func (r *Resolver) serveUDP(ctx context.Context, conn *net.UDPConn, serving *sync.WaitGroup) {
	batches := ipv4.NewPacketConn(conn) // of either family: it only reads and writes
	p := newPackets()
	for {
		n, err := batches.ReadBatch(p.in, 0)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error of an earlier answer
		}
		for i := range p.in[:n] {
			from, ok := p.in[i].Addr.(*net.UDPAddr)
			if !ok {
				continue
			}
			reply, q := r.begin(p.in[i].Buffers[0][:p.in[i].N], from.AddrPort().Addr().Unmap())
			if reply == nil && q != nil {
				serving.Go(func() {
					defer r.release()
					if packed := r.pack(r.finish(ctx, q), q.size(), nil); packed != nil {
						conn.WriteToUDP(packed, from)
					}
				})
			} else if packed := r.pack(reply, q.size(), p.room[i]); packed != nil {
				p.answer(packed, from)
			}
		}
		p.send(batches)
	}
}

// serveTCP accepts connections until the listener closes.
func (r *Resolver) serveTCP(ctx context.Context, l *net.TCPListener, serving *sync.WaitGroup) {
	guests := &guests{max: r.cfg.TCPConns, open: map[netip.Addr]int{}}
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select { // out of file descriptors: leave the processor to those who will free some
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		client := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if !guests.enter(client) {
			r.stats.tcpRefused.Add(1)
			conn.Close()
			continue
		}
		serving.Go(func() {
			defer guests.leave(client)
			r.converse(ctx, conn, client)
		})
	}
}

// converse answers one connection's questions, one after the other.
func (r *Resolver) converse(ctx context.Context, conn *net.TCPConn, client netip.Addr) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	in, out := make([]byte, maxQuery), make([]byte, 2+maxQuery)
	for range tcpQuestions {
		packet, err := readFrame(conn, in)
		if err != nil {
			return
		}
		reply, q := r.begin(packet, client)
		if reply == nil && q != nil {
			reply = r.finish(ctx, q)
			r.release()
		}
		packed := r.pack(reply, wire.MaxMsgSize, out[2:])
		if packed == nil {
			return
		}
		if len(packed)+2 > len(out) {
			out = make([]byte, 2+len(packed))
		}
		copy(out[2:], packed) // in place already, unless it had to grow
		binary.BigEndian.PutUint16(out, uint16(len(packed)))
		conn.SetWriteDeadline(time.Now().Add(tcpWrite))
		if _, err := conn.Write(out[:2+len(packed)]); err != nil {
			return
		}
	}
}

// readFrame reads one question with its length (RFC 1035, section 4.2.2) into buf.
func readFrame(conn net.Conn, buf []byte) ([]byte, error) {
	if err := conn.SetReadDeadline(time.Now().Add(tcpIdle)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > len(buf) {
		return nil, errors.New("question is too large")
	}
	_, err := io.ReadFull(conn, buf[:n])
	return buf[:n], err
}

// guests counts open connections, in all and by client.
type guests struct {
	mu    sync.Mutex
	max   int
	total int
	open  map[netip.Addr]int
}

func (g *guests) enter(client netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= g.max || g.open[client] >= max(1, g.max/4) {
		return false
	}
	g.total++
	g.open[client]++
	return true
}

func (g *guests) leave(client netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.open[client]--; g.open[client] == 0 {
		delete(g.open, client)
	}
}
