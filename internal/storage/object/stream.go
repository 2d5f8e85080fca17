package object

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
)

// The sealed form: magic, then chunks of 64 KiB of the file, each sealed with ChaCha20-Poly1305. The last chunk may be shorter, is empty
// only when the file is, and alone carries the last flag in its nonce (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár,
// CRYPTO 2015): nothing can be cut off, moved or added without the opening noticing.
const (
	magic     = "CSO1"
	chunkSize = 64 << 10
	sealedMax = chunkSize + chacha20poly1305.Overhead
	maxChunks = 1<<32 - 1 // what the counter in the nonce can tell apart
)

// ErrDamaged says that a sealed file is not what was sealed under that key.
var ErrDamaged = errors.New("object: the sealed file was changed or cut, or has another key")

// chunkNonce is seven zero bytes, the chunk's number, and whether it is the last. The key seals one file only, so nothing random is needed.
func chunkNonce(number uint32, last bool) []byte {
	var n [chacha20poly1305.NonceSize]byte
	binary.BigEndian.PutUint32(n[7:], number)
	if last {
		n[11] = 1
	}
	return n[:]
}

// encrypt seals what r gives into w and returns how many bytes r gave.
func encrypt(w io.Writer, r io.Reader, c cipher.AEAD) (int64, error) {
	if _, err := io.WriteString(w, magic); err != nil {
		return 0, err
	}
	var size int64
	chunk, next := make([]byte, 0, chunkSize), make([]byte, 0, chunkSize)
	sealed := make([]byte, 0, sealedMax)
	chunk, err := fill(r, chunk)
	for number := uint64(0); ; number++ {
		if err != nil {
			return size, err
		}
		if number > maxChunks {
			return size, errors.New("the file is larger than one object can be")
		}
		if len(chunk) == chunkSize {
			next, err = fill(r, next)
		} else {
			next = next[:0]
		}
		if err != nil {
			return size, err
		}
		last := len(next) == 0
		sealed = c.Seal(sealed[:0], chunkNonce(uint32(number), last), chunk, []byte(magic))
		if _, err := w.Write(sealed); err != nil {
			return size, err
		}
		size += int64(len(chunk))
		if last {
			return size, nil
		}
		chunk, next = next, chunk
	}
}

// fill reads until b is full or r ends.
func fill(r io.Reader, b []byte) ([]byte, error) {
	n, err := io.ReadFull(r, b[:cap(b)])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return b[:n], err
}

// decrypter opens a sealed file chunk by chunk. It gives only bytes that were verified, and io.EOF only after the last chunk.
type decrypter struct {
	in      io.Reader
	aead    cipher.AEAD
	number  uint64
	held    []byte // sealed bytes of the next chunk
	spare   []byte
	plain   []byte
	rest    []byte // of plain, not yet given
	started bool
	err     error
}

func newDecrypter(in io.Reader, c cipher.AEAD) *decrypter {
	return &decrypter{in: in, aead: c, held: make([]byte, 0, sealedMax), spare: make([]byte, 0, sealedMax), plain: make([]byte, 0, chunkSize)}
}

// Read implements io.Reader.
func (d *decrypter) Read(p []byte) (int, error) {
	for len(d.rest) == 0 && d.err == nil {
		d.err = d.open()
	}
	if len(d.rest) > 0 {
		n := copy(p, d.rest)
		d.rest = d.rest[n:]
		return n, nil
	}
	return 0, d.err
}

// open verifies the next chunk. After the last one it sets io.EOF beside what the chunk holds.
func (d *decrypter) open() error {
	if !d.started {
		d.started = true
		var head [len(magic)]byte
		if _, err := io.ReadFull(d.in, head[:]); err != nil || string(head[:]) != magic {
			return ErrDamaged
		}
		var err error
		if d.held, err = fill(d.in, d.held); err != nil {
			return fmt.Errorf("object: %w", err)
		}
	}
	var err error
	if d.spare, err = fill(d.in, d.spare); err != nil {
		return fmt.Errorf("object: %w", err)
	}
	last := len(d.spare) == 0
	if d.number > maxChunks || last && d.number > 0 && len(d.held) == chacha20poly1305.Overhead {
		return ErrDamaged
	}
	if d.plain, err = d.aead.Open(d.plain[:0], chunkNonce(uint32(d.number), last), d.held, []byte(magic)); err != nil {
		return ErrDamaged
	}
	d.rest = d.plain
	d.number++
	d.held, d.spare = d.spare, d.held
	if last {
		return io.EOF
	}
	return nil
}
