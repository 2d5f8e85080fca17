package authority

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// verifierOf returns the verifier that belongs to a signer's secret, "PRIVATE+KEY+name+hash+data" (golang.org/x/mod/sumdb/note).
func verifierOf(secret string) (string, error) {
	f := strings.SplitN(secret, "+", 5)
	bad := errors.New("the key that signs policy is damaged")
	if len(f) != 5 {
		return "", bad
	}
	raw, err := base64.StdEncoding.DecodeString(f[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize || raw[0] != 1 {
		return "", bad
	}
	public, ok := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", bad
	}
	return note.NewEd25519VerifierKey(f[2], public)
}
