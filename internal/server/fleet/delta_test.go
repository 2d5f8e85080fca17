package fleet_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
)

// counted stands between agents and a server and counts what the server sends.
func (r *rig) counted() (address string, sent *atomic.Int64) {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { l.Close() })
	sent = &atomic.Int64{}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", r.address)
			if err != nil {
				in.Close()
				continue
			}
			go func() { io.Copy(out, in); out.Close() }()
			go func() { io.Copy(in, io.TeeReader(out, counter{sent})); in.Close() }()
		}
	}()
	return l.Addr().String(), sent
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

// largePolicy is of about 200 KB; what rule 700 says depends on turn.
func largePolicy(turn int) string {
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	for i := range 1500 {
		say := 0
		if i == 700 {
			say = turn
		}
		fmt.Fprintf(&b, "  - {id: rule-%d, names: [\"host-%x.example.org\"], verdict: block, say: \"Not here (%d), and see the intranet for why: page %x.\"}\n", i, i*i*7919, say, i*i)
	}
	return b.String()
}

// TestDeltas: of a large policy only what changed travels, also to an agent that was away for some changes; one that has lost the former file,
// and one of a server that has been restarted, gets the whole.
func TestDeltas(t *testing.T) {
	r := newRig(t)
	address, sent := r.counted()
	r.source.set("large", largePolicy(0), nil)
	a := r.enrol("laptop-17")
	a.server = address
	a.run()
	a.until(func(b client.Bundle) bool { return b.Host > 0 && string(b.Policy) == largePolicy(0) })
	turn := 0
	change := func() {
		turn++
		r.source.set(fmt.Sprint("v", turn+1), largePolicy(turn), nil)
		eventually(t, "it is signed", func() bool { _, _, v := r.Release(); return v == fmt.Sprint("v", turn+1) })
	}
	arrives := func() {
		t.Helper()
		a.until(func(b client.Bundle) bool { return string(b.Policy) == largePolicy(turn) })
	}
	size := int64(len(largePolicy(0)))
	if size < 150<<10 {
		t.Fatalf("the policy has %d bytes", size)
	}
	before := sent.Load()
	change()
	arrives()
	if n := sent.Load() - before; n > 2000 {
		t.Errorf("one rule of %d bytes changed, and %d bytes were sent", size, n)
	}

	a.stop()
	for range 3 {
		change()
	}
	before = sent.Load()
	a.run()
	arrives()
	if n := sent.Load() - before; n > 8000 { // with the handshake
		t.Errorf("after three changes %d bytes were sent", n)
	}

	sum := sha256.Sum256([]byte(largePolicy(turn)))
	if err := os.Remove(filepath.Join(a.dir, "parts", hex.EncodeToString(sum[:]))); err != nil {
		t.Fatal(err)
	}
	before = sent.Load()
	change()
	arrives()
	if n := sent.Load() - before; n < size {
		t.Errorf("the former file was lost, and only %d bytes were sent", n)
	}

	a.stop()
	r.stop()
	r.source.set("restarted", largePolicy(99), nil)
	r.start()
	a.server, turn = r.address, 99
	a.run()
	arrives()
}
