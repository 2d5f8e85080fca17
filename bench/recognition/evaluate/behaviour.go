package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// shape is the behaviour of a flow's first packets with payload: their sizes, negative from the server, and the time between them, both by
// their logarithms.
type shape [2 * shapePackets]float64

const (
	shapePackets = 8
	neighbours   = 5
)

// vote is what the flows that behave most alike say of a flow: how many of them are messengers'.
type vote struct {
	pair  pair
	yes   int
	given bool // a fact already names the flow, or its own host name
}

// behaviours asks, for each flow, the flows of other sources that behave most alike.
func behaviours(r *runner, pairs []pair) ([]vote, error) {
	shapes := map[string]shape{}
	for _, name := range r.names {
		if err := readShapes(name, shapes); err != nil {
			return nil, err
		}
	}
	var known []pair
	for _, p := range pairs {
		if _, ok := shapes[p.label.key]; ok && plain(p) {
			known = append(known, p)
		}
	}
	votes := make([]vote, 0, len(known))
	for _, p := range known {
		v := vote{pair: p, given: p.verdict != nil && (p.verdict.app != "" || p.verdict.named)}
		v.yes = nearest(p, known, shapes)
		votes = append(votes, v)
	}
	return votes, nil
}

// nearest counts the messengers among the flows of other sources that are nearest to p.
func nearest(p pair, known []pair, shapes map[string]shape) int {
	type near struct {
		distance float64
		yes      bool
	}
	var best []near
	own := shapes[p.label.key]
	for _, o := range known {
		if o.label.source == p.label.source || o.label.proto != p.label.proto {
			continue
		}
		other := shapes[o.label.key]
		distance := 0.0
		for i := range own {
			distance += (own[i] - other[i]) * (own[i] - other[i])
		}
		if len(best) < neighbours || distance < best[len(best)-1].distance {
			best = append(best, near{distance, o.label.app != "none"})
			slices.SortFunc(best, func(a, b near) int { return cmp.Compare(a.distance, b.distance) })
			best = best[:min(len(best), neighbours)]
		}
	}
	yes := 0
	for _, n := range best {
		if n.yes {
			yes++
		}
	}
	return yes
}

// packetReader reads a capture of either kind.
type packetReader interface {
	LinkType() layers.LinkType
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
}

func openCapture(f *os.File) (packetReader, error) {
	if r, err := pcapgo.NewReader(f); err == nil {
		return r, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
}

// growing is a flow's shape while it is read.
type growing struct {
	shape  shape
	client netip.AddrPort
	last   float64
	n      int
}

// readShapes adds the shapes of a capture's flows that have at least four packets with payload.
func readShapes(name string, shapes map[string]shape) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := openCapture(f)
	if err != nil {
		return nil // not a capture: the recogniser has said so
	}
	flows := map[string]*growing{}
	for {
		data, info, err := r.ReadPacketData()
		if err != nil { // the end, or damage
			break
		}
		p := gopacket.NewPacket(data, r.LinkType(), gopacket.DecodeOptions{Lazy: true, NoCopy: true})
		at := float64(info.Timestamp.UnixMicro()) / 1e6
		if proto, from, to, size, ok := ends(p); ok && size > 0 {
			grow(flows, flowKey(filepath.Base(name), proto, from, to), from, size, at)
		}
	}
	for key, g := range flows {
		if g.n >= shapePackets/2 {
			shapes[key] = g.shape
		}
	}
	return nil
}

func grow(flows map[string]*growing, key string, from netip.AddrPort, size int, at float64) {
	g := flows[key]
	if g == nil {
		g = &growing{client: from, last: at}
		flows[key] = g
	}
	if g.n == shapePackets {
		return
	}
	g.shape[2*g.n] = math.Log2(1 + float64(size))
	if from != g.client {
		g.shape[2*g.n] *= -1
	}
	g.shape[2*g.n+1] = math.Log10(1 + 1000*max(0, at-g.last))
	g.last, g.n = at, g.n+1
}

// ends returns who sends how much payload to whom.
func ends(p gopacket.Packet) (proto string, from, to netip.AddrPort, size int, ok bool) {
	network := p.NetworkLayer()
	if network == nil {
		return
	}
	src, errA := addrOf(network.NetworkFlow().Src())
	dst, errB := addrOf(network.NetworkFlow().Dst())
	if errors.Join(errA, errB) != nil {
		return
	}
	switch t := p.TransportLayer().(type) {
	case *layers.TCP:
		return "tcp", netip.AddrPortFrom(src, uint16(t.SrcPort)), netip.AddrPortFrom(dst, uint16(t.DstPort)), len(t.Payload), true
	case *layers.UDP:
		return "udp", netip.AddrPortFrom(src, uint16(t.SrcPort)), netip.AddrPortFrom(dst, uint16(t.DstPort)), len(t.Payload), true
	}
	return
}

func addrOf(e gopacket.Endpoint) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(e.Raw())
	if !ok {
		return a, fmt.Errorf("no address: %v", e)
	}
	return a, nil
}

// reportBehaviour says what behaviour alone would find.
func (e *evaluation) reportBehaviour(w io.Writer) {
	fmt.Fprintf(w, "\n## Behaviour alone\n\nSizes, directions and gaps of the first %d packets with payload; of the %d flows of other sources that are nearest, so many must be of\n"+
		"messengers. Left out by source; nothing of it is in the product.\n\n| flows | votes of %d | claims | right | precision | recall |\n|---|---|---|---|---|---|\n", shapePackets, neighbours, neighbours)
	for _, row := range []struct {
		name string
		keep func(v vote) bool
	}{{"all, as if they had no fact", func(vote) bool { return true }}, {"without a fact or a name of their own", func(v vote) bool { return !v.given }}} {
		for need := 3; need <= neighbours; need++ {
			claims, hits, all := 0, 0, 0
			for _, v := range e.votes {
				if !row.keep(v) {
					continue
				}
				is := v.pair.label.app != "none"
				if is {
					all++
				}
				if v.yes >= need {
					claims++
					if is {
						hits++
					}
				}
			}
			fmt.Fprintf(w, "| %s | %d | %d | %d | %.3f | %.3f |\n", row.name, need, claims, hits, ratio(hits, claims), ratio(hits, all))
		}
	}
}
