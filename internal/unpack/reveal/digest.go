package reveal

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/chaperone-im/chaperone/internal/program/token"
)

// Data is hashed and searched in blocks that stay in the processor's cache; a token may reach from one block into the next.
const (
	blockSize = 128 << 10
	reach     = 1 << 10 // tokens are shorter
)

// digest returns the SHA-256 of data and the tokens in it, nil tokens meaning that none are looked for.
func digest(data []byte, tokens *token.Set) (string, []int) {
	h := sha256.New()
	var found []bool
	if tokens != nil {
		found = make([]bool, tokens.Count())
	}
	for at := 0; at < len(data); at += blockSize {
		end := min(at+blockSize, len(data))
		h.Write(data[at:end])
		if tokens != nil {
			tokens.Search(data[at:min(end+reach, len(data))], end-at, found)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), token.Indices(found)
}
