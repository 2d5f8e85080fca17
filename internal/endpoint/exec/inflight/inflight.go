// Package inflight keeps what a worker of the execution control is about to report where its end does not lose it: in a piece of memory that
// the holder owns and hands to each worker. Before a refusal is answered its event is copied there, which is a matter of microseconds and waits
// for nothing; once the event is in the spool its place is free again. The next worker finds what the last one left.
//
// The memory has a fixed size. An event that finds a place still taken takes it all the same, and that is counted. The holder counts what it
// refused by itself. Neither believes the other's numbers without looking: whatever is read here is checked.
package inflight

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	magic    = 0x314b4e4948435049 // of this layout
	header   = 64
	slotSize = 4 << 10
	slotHead = 32
	slots    = 512
	size     = header + slots*slotSize
)

// Largest is the longest event that has room.
const Largest = slotSize - slotHead

// Offsets of the header and of a slot.
const (
	atMagic, atNext, atLost, atLate = 0, 8, 16, 24
	atState, atLength, atSum        = 0, 4, 8
	atNumber                        = 16
)

// The states of a slot.
const (
	free uint32 = iota
	writing
	full
)

// Memory is the piece of memory. It is safe for concurrent use, and by two processes.
type Memory struct {
	b  []byte
	mu sync.Mutex
}

// Create makes the memory, for the holder. Nobody can make it smaller.
func Create() (*os.File, error) {
	fd, err := unix.MemfdCreate("chaperone-inflight", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("chaperone-inflight", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("inflight: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inflight")
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(fmt.Errorf("inflight: %w", err), f.Close())
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW); err != nil {
		return nil, errors.Join(fmt.Errorf("inflight: %w", err), f.Close())
	}
	return f, nil
}

// errForeign says that a descriptor is not of such a memory.
var errForeign = errors.New("inflight: this is no memory of ours")

// Map maps the memory.
func Map(fd int) (*Memory, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("inflight: %w", err)
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 || st.Size != size {
		return nil, errForeign
	}
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("inflight: %w", err)
	}
	m := &Memory{b: b}
	if found := m.count(atMagic).Load(); found != magic { // fresh, or of an older binary after an upgrade
		clear(b[atNext:])
		m.count(atMagic).Store(magic)
	}
	return m, nil
}

// Close takes the mapping away. Nothing may use the memory any more.
func (m *Memory) Close() error { return unix.Munmap(m.b) }

// count is a number of the header, or of a slot, by its place in the memory.
func (m *Memory) count(at int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&m.b[at])) }

func (m *Memory) state(slot int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&m.b[slot+atState]))
}

// Late counts starts that the holder refused since no worker answered.
func (m *Memory) Late(n int) { m.count(atLate).Add(uint64(n)) }

// Ticket is the place of an event, for Done. The zero Ticket is none.
type Ticket uint64

// Put keeps an event until Done. It never waits, but for those who copy theirs in the same moment. An event that is too long is counted as lost.
func (m *Memory) Put(event []byte) Ticket {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(event) > Largest {
		m.count(atLost).Add(1)
		return 0
	}
	number := m.count(atNext).Add(1)
	slot := slotOf(number)
	if m.state(slot).Load() != free {
		m.count(atLost).Add(1)
	}
	m.state(slot).Store(writing)
	m.count(slot + atNumber).Store(number)
	binary.LittleEndian.PutUint32(m.b[slot+atLength:], uint32(len(event)))
	binary.LittleEndian.PutUint32(m.b[slot+atSum:], crc32.ChecksumIEEE(event))
	copy(m.b[slot+slotHead:slot+slotSize], event)
	m.state(slot).Store(full)
	return Ticket(number)
}

// Done says that an event is kept elsewhere now, or that it was counted.
func (m *Memory) Done(t Ticket) {
	if t == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	slot := slotOf(uint64(t))
	if m.count(slot+atNumber).Load() == uint64(t) {
		m.state(slot).Store(free)
		return
	}
	if n := m.count(atLost).Load(); n > 0 { // its place was taken, and nothing came of it
		m.count(atLost).Store(n - 1)
	}
}

func slotOf(number uint64) int { return header + int(number%slots)*slotSize }

// Left returns what an earlier worker left, oldest first, with how many events are lost, and how many starts the holder refused by itself.
// What it returns has its place until Done; the counts begin anew.
func (m *Memory) Left() (events []Left, lost, late uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.count(atNext).Load()
	for i := range uint64(slots) {
		number := next + 1 + i - slots
		slot := slotOf(number)
		switch m.state(slot).Load() {
		case free:
			continue
		case full:
			if text := m.read(slot); text != nil {
				events = append(events, Left{text, Ticket(m.count(slot + atNumber).Load())})
				continue
			}
		}
		m.state(slot).Store(free) // cut off
		lost++
	}
	return events, lost + m.count(atLost).Swap(0), m.count(atLate).Swap(0)
}

// TakeLate returns how many starts the holder refused by itself since it was asked last.
func (m *Memory) TakeLate() uint64 { return m.count(atLate).Swap(0) }

// read returns a copy of what is in a slot, nil when it is not whole.
func (m *Memory) read(slot int) []byte {
	length, sum := binary.LittleEndian.Uint32(m.b[slot+atLength:]), binary.LittleEndian.Uint32(m.b[slot+atSum:])
	if length > Largest {
		return nil
	}
	text := append([]byte{}, m.b[slot+slotHead:slot+slotHead+int(length)]...)
	if crc32.ChecksumIEEE(text) != sum {
		return nil
	}
	return text
}

// Left is one event that an earlier worker left.
type Left struct {
	Event  []byte
	Ticket Ticket
}
