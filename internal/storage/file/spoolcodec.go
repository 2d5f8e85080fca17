package file

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"github.com/chaperone-im/chaperone/internal/event"
	"golang.org/x/crypto/chacha20poly1305"
)

// An entry of the spool: one byte that says whether it waits or is done, four of magic, four of length of what follows the number, eight of
// the number, the nonce, and the sealed event. The number is generation (random, of all entries since the spool was last empty) and index.
const (
	spoolMagic   = "CSP1"
	spoolWaiting = 'W'
	spoolDone    = 'D'
	spoolHead    = 1 + 4 + 4 + 8
	indexBits    = 24
	maxIndex     = 1<<indexBits - 1
)

type spoolCodec struct{ aead cipher.AEAD }

func newSpoolCodec(key []byte) (spoolCodec, error) {
	aead, err := chacha20poly1305.NewX(key)
	return spoolCodec{aead}, err
}

// newGeneration returns the number of the first entry of a new generation.
func newGeneration() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:]) &^ maxIndex
}

func (c spoolCodec) seal(number uint64, e *event.Event) ([]byte, error) {
	h, content, err := e.Split(event.NewSalt())
	if err != nil {
		return nil, err
	}
	header, err := event.Canonical(&h)
	if err != nil {
		return nil, err
	}
	plain := append(binary.BigEndian.AppendUint32(nil, uint32(len(header))), header...)
	plain = append(plain, content...)
	size := chacha20poly1305.NonceSizeX + len(plain) + c.aead.Overhead()
	b := make([]byte, spoolHead+chacha20poly1305.NonceSizeX, spoolHead+size)
	b[0] = spoolWaiting
	copy(b[1:], spoolMagic)
	binary.BigEndian.PutUint32(b[5:], uint32(size))
	binary.BigEndian.PutUint64(b[9:], number)
	rand.Read(b[spoolHead:])
	return c.aead.Seal(b, b[spoolHead:], plain, b[1:spoolHead]), nil
}

var errNoEntry = errors.New("no entry of the spool")

// open opens the entry that raw begins with, and returns what it says and its size.
func (c spoolCodec) open(raw []byte) (plain []byte, number uint64, size int, err error) {
	if len(raw) < spoolHead || string(raw[1:5]) != spoolMagic || raw[0] != spoolWaiting && raw[0] != spoolDone {
		return nil, 0, 0, errNoEntry
	}
	n := uint64(binary.BigEndian.Uint32(raw[5:]))
	if n < chacha20poly1305.NonceSizeX || n > uint64(len(raw)-spoolHead) {
		return nil, 0, 0, errNoEntry
	}
	b := raw[spoolHead : spoolHead+int(n)]
	plain, err = c.aead.Open(nil, b[:chacha20poly1305.NonceSizeX], b[chacha20poly1305.NonceSizeX:], raw[1:spoolHead])
	if err != nil {
		return nil, 0, 0, errNoEntry
	}
	return plain, binary.BigEndian.Uint64(raw[9:]), spoolHead + int(n), nil
}

// spooled reads the event of an entry.
func spooled(plain []byte) (*event.Event, error) {
	if len(plain) < 4 {
		return nil, errNoEntry
	}
	n := uint64(binary.BigEndian.Uint32(plain))
	if n > uint64(len(plain)-4) {
		return nil, errNoEntry
	}
	h, err := event.ParseHeader(plain[4 : 4+n])
	if err != nil {
		return nil, err
	}
	return event.Assemble(h, plain[4+n:])
}

// spoolPlace is where an entry is.
type spoolPlace struct {
	at   int64
	size int
}

// found is what a spool's bytes hold.
type found struct {
	waiting []spoolPlace
	damaged int    // entries among and before those that wait which cannot be read
	end     int64  // after the last whole entry
	next    uint64 // the number after it; 0 when there is none
}

// scan finds the entries. Bytes after the last whole one are one that a crash left half written, and was never acknowledged.
func (c spoolCodec) scan(raw []byte) found {
	var f found
	for at := 0; at < len(raw); {
		_, number, size, err := c.open(raw[at:])
		if err != nil || f.next != 0 && (number < f.next || number>>indexBits != f.next>>indexBits) {
			i := bytes.Index(raw[min(at+2, len(raw)):], []byte(spoolMagic))
			if i < 0 {
				break
			}
			at += 1 + i
			continue
		}
		if f.next == 0 {
			f.next = number &^ maxIndex
		}
		f.damaged += int(number - f.next)
		f.waiting = append(f.waiting, spoolPlace{int64(at), size})
		if raw[at] == spoolDone { // and so are all before it
			f.waiting, f.damaged = nil, 0
		}
		at += size
		f.end, f.next = int64(at), number+1
	}
	return f
}
