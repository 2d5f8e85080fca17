package protocol

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Code is an enrolment code: what an administrator hands to who installs agents. It names the secret and pins the fleet's authority, so that
// an agent cannot be enrolled by somebody in between.
type Code struct {
	ID     [4]byte
	Secret [16]byte
	Pin    [16]byte // of the authority's key, see PinOf
}

const codePrefix = "CF1-"

var codeAlphabet = base32.StdEncoding.WithPadding(base32.NoPadding)

// ErrCode says that a text is no enrolment code.
var ErrCode = errors.New("not an enrolment code: it begins with " + codePrefix + " and is printed by chaperone fleet enroll-code")

// NewCode makes a code with a random secret.
func NewCode(pin [16]byte) Code {
	c := Code{Pin: pin}
	rand.Read(c.ID[:])
	rand.Read(c.Secret[:])
	return c
}

// String is the code as people pass it on.
func (c Code) String() string {
	b := append(append(c.ID[:], c.Secret[:]...), c.Pin[:]...)
	return codePrefix + codeAlphabet.EncodeToString(b)
}

// Name is the id of a code, in hex.
func (c Code) Name() string { return hex.EncodeToString(c.ID[:]) }

// ParseCode reads a code.
func ParseCode(s string) (Code, error) {
	text, ok := strings.CutPrefix(strings.ToUpper(strings.TrimSpace(s)), codePrefix)
	if !ok || len(text) > 64 {
		return Code{}, ErrCode
	}
	b, err := codeAlphabet.DecodeString(text)
	if err != nil || len(b) != 36 || codeAlphabet.EncodeToString(b) != text { // the last digit has bits that say nothing
		return Code{}, ErrCode
	}
	return Code{[4]byte(b), [16]byte(b[4:]), [16]byte(b[20:])}, nil
}

// PinOf returns what a code says of an authority: half of the SHA-256 of its public key (RFC 7469, section 2.4).
func PinOf(c *x509.Certificate) [16]byte {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return [16]byte(sum[:16])
}

// Fingerprint is how people compare keys of agents: the SHA-256 of the public key, in groups.
func Fingerprint(spki []byte) string {
	sum := sha256.Sum256(spki)
	text := hex.EncodeToString(sum[:16])
	var groups []string
	for i := 0; i < len(text); i += 4 {
		groups = append(groups, text[i:i+4])
	}
	return strings.Join(groups, "-")
}

// NewRequest returns the certificate request of an agent's key. Its name says nothing: the server gives one.
func NewRequest(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "chaperone agent"}}, key)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	return der, nil
}

// ParseRequest reads a certificate request and checks that it was signed with its own key, which must be on P-256.
func ParseRequest(der []byte) (*x509.CertificateRequest, error) {
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate request: %w", ErrMalformed, err)
	}
	key, ok := r.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%w: certificate request: the key must be on P-256", ErrMalformed)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: certificate request: %w", ErrMalformed, err)
	}
	return r, nil
}
