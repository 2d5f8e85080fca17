package agentcmd

import (
	"fmt"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// What the secret of codes must have at least: whoever guesses it, or finds it from a code that was read out, makes codes.
const (
	minSecret    = 16 // bytes
	minDifferent = 8  // of these
)

// readSecret reads the secret of codes that a reference names, and refuses one that can be guessed. Relative paths begin in dir.
func readSecret(ref, dir string) ([]byte, error) {
	text, err := seal.Passphrase(ref, dir)
	if err != nil {
		return nil, err
	}
	seen := map[byte]bool{}
	for i := range len(text) {
		seen[text[i]] = true
	}
	if len(text) < minSecret || len(seen) < minDifferent {
		return nil, hint.New(fmt.Errorf("the secret of %s can be guessed: %d random bytes at least are needed", ref, minSecret),
			"head -c 32 /dev/urandom | base64 makes a good one; the agent and who makes codes for it need the same")
	}
	return []byte(text), nil
}
