package lsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// Refusal is a start that the kernel refused.
type Refusal struct {
	Reason  Reason
	Process uint32 // that wanted to become the program, as the machine numbers it
	User    uint32 // whose process it is
	Command string // what the process called itself
	Path    string // as the process saw it; "" when it was too long
}

// errRecord says that what the kernel handed over is none of ours.
var errRecord = errors.New("lsm: this is no refusal")

// parse reads what the program hands over.
func parse(b []byte) (Refusal, error) {
	if len(b) < record {
		return Refusal{}, errRecord
	}
	r := Refusal{Reason(binary.NativeEndian.Uint32(b[atReason:])), binary.NativeEndian.Uint32(b[atProcess:]), binary.NativeEndian.Uint32(b[atUser:]),
		text(b[atCommand : atCommand+commandSize]), text(b[atPath : atPath+pathSize])}
	if r.Reason != FromMemory && r.Reason != FromNamespace {
		return Refusal{}, errRecord
	}
	return r, nil
}

// text is what stands before the first zero.
func text(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return strings.ToValidUTF8(string(before), "\ufffd")
}

// Refusals reads what the programs refused. One reads at a time.
type Refusals struct {
	ring   *ringbuf.Reader
	counts *ebpf.Map
	lost   uint64
}

// Open returns what the programs refuse from now on, and what of earlier nobody has read yet.
func (p *Programs) Open() (*Refusals, error) {
	dir := filepath.Join(p.dir, version)
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, "refusals"), nil)
	if err != nil {
		return nil, fmt.Errorf("lsm: %w", err)
	}
	defer m.Close()
	numbers, err := ebpf.LoadPinnedMap(filepath.Join(dir, "counts"), nil)
	if err != nil {
		return nil, fmt.Errorf("lsm: %w", err)
	}
	r := &Refusals{counts: numbers}
	if _, r.lost, err = r.Counts(); err == nil {
		r.ring, err = ringbuf.NewReader(m)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lsm: %w", err), numbers.Close())
	}
	return r, nil
}

// Read returns the next refusal. When none came within the time the error is os.ErrDeadlineExceeded.
func (r *Refusals) Read(patience time.Duration) (Refusal, error) {
	r.ring.SetDeadline(time.Now().Add(patience))
	raw, err := r.ring.Read()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return Refusal{}, os.ErrDeadlineExceeded
	} else if err != nil {
		return Refusal{}, fmt.Errorf("lsm: %w", err)
	}
	return parse(raw.RawSample)
}

// Counts returns how many starts were refused since the programs are in force, and of how many of these nobody could be told.
func (r *Refusals) Counts() (refused, lost uint64, err error) {
	err = errors.Join(r.counts.Lookup(uint32(countRefused), &refused), r.counts.Lookup(uint32(countLost), &lost))
	return refused, lost, err
}

// Lost returns of how many starts nobody could be told since the last call.
func (r *Refusals) Lost() uint64 {
	_, lost, err := r.Counts()
	if err != nil || lost < r.lost {
		return 0
	}
	n := lost - r.lost
	r.lost = lost
	return n
}

// Close ends reading. The programs stay in force.
func (r *Refusals) Close() error { return errors.Join(r.ring.Close(), r.counts.Close()) }
