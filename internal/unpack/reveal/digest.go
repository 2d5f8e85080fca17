package reveal

import (
	"crypto/sha256"
	"encoding/hex"
	"runtime"
	"runtime/debug"

	"github.com/chaperone-im/chaperone/internal/program/token"
)

// Data is hashed and searched in blocks that stay in the processor's cache; a token may reach from one block into the next.
const (
	blockSize = 128 << 10
	reach     = 1 << 10 // tokens are shorter
	large     = 4 << 20
)

// digest returns the SHA-256 of data and the tokens in it, nil tokens meaning that none are looked for. Where there are two processors to use,
// large data are hashed by one and searched by the other.
func digest(data []byte, tokens *token.Set) (string, []int) {
	h := sha256.New()
	if tokens == nil {
		h.Write(data)
		return hex.EncodeToString(h.Sum(nil)), nil
	}
	found := make([]bool, tokens.Count())
	search := func(at, end int) { tokens.Search(data[at:min(end+reach, len(data))], end-at, found) }
	if len(data) >= large && runtime.GOMAXPROCS(0) > 1 {
		together(func() { h.Write(data) }, func() { blocks(data, search) })
	} else {
		blocks(data, func(at, end int) { h.Write(data[at:end]); search(at, end) })
	}
	return hex.EncodeToString(h.Sum(nil)), token.Indices(found)
}

// together does two things at the same time, and waits for both. Data that are taken away while they are read are a fault, which is raised in
// the goroutine that answers for it.
func together(one, other func()) {
	done := make(chan any, 1)
	go func() {
		defer func() { done <- recover() }()
		debug.SetPanicOnFault(true)
		one()
	}()
	defer func() {
		if fault := <-done; fault != nil {
			panic(fault)
		}
	}()
	other()
}

// blocks calls do with the bounds of each block.
func blocks(data []byte, do func(at, end int)) {
	for at := 0; at < len(data); at += blockSize {
		do(at, min(at+blockSize, len(data)))
	}
}
