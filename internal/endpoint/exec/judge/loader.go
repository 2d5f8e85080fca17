package judge

import (
	"debug/elf"
	"encoding/binary"
	"slices"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/event"
)

// header is the part of an ELF file that says whether it is loaded by a loader. Only as much is read here as the kernel reads itself.
func (q *question) header() (kind elf.Type, interpreted bool) {
	var b [64]byte
	n, _ := q.file.ReadAt(b[:], 0) // what is not there is zero
	if n < 52 || string(b[:4]) != elf.ELFMAG {
		return 0, false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(b[5]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	kind = elf.Type(order.Uint16(b[16:]))
	at, size, count := int64(order.Uint32(b[28:])), int64(order.Uint16(b[42:])), int64(order.Uint16(b[44:]))
	if elf.Class(b[4]) == elf.ELFCLASS64 {
		at, size, count = int64(order.Uint64(b[32:])), int64(order.Uint16(b[54:])), int64(order.Uint16(b[56:]))
	}
	var p [4]byte
	for i := range min(count, 1024) {
		if _, err := q.file.ReadAt(p[:], at+i*size); err != nil {
			return kind, false
		}
		if elf.ProgType(order.Uint32(p[:])) == elf.PT_INTERP {
			return kind, true
		}
	}
	return kind, false
}

// loadable reports whether the file is something that a loader or a program could run: a program or a library.
func (q *question) loadable() bool {
	kind, _ := q.header()
	return kind == elf.ET_EXEC || kind == elf.ET_DYN
}

// loader reports whether a file is a dynamic loader, by its content: a copy of one does the same.
func (q *question) loader(k *known) bool {
	return k.sum() != "" && slices.Contains(q.judge.o.Loaders, k.sum())
}

// expectLoader lets a loader through only where the kernel asks for it, right after a program that names one, and on the same thread.
func (q *question) expectLoader(k *known, d *decision) {
	j := q.judge
	if j.o.Mode != Lockdown || !d.allow || q.ask.Has(wire.Open) {
		return
	}
	now := j.o.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !q.loader(k) {
		if _, interpreted := q.header(); interpreted {
			if len(j.loading) >= maxLoading {
				clear(j.loading)
			}
			j.loading[q.ask.Thread] = now
		}
		return
	}
	begun, ok := j.loading[q.ask.Thread]
	delete(j.loading, q.ask.Thread)
	if ok && now.Sub(begun) < loaderTime {
		return
	}
	e := q.event(&known{})
	e.Verdict = event.Verdict{Action: event.Block, Rule: RuleLoader, Say: sayLoader, Enforced: true}
	*d = decision{stop: q.stop(e)}
}
