package santa_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/server/santa"
)

// machineCertificate makes a certificate that names a machine and vouches for itself, and a file of it.
func machineCertificate(t *testing.T, id string) (string, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: id}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "machine.crt")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestAccess: a machine is let in by its own token or certificate, and by no other.
func TestAccess(t *testing.T) {
	cert, pair := machineCertificate(t, idB)
	r := newRig(t, func(c *santa.Config) { c.ClientCA = cert })
	for _, c := range []struct {
		why, id, token string
		certs          []tls.Certificate
		in             bool
	}{
		{"its token", idA, tokenA, nil, true}, {"its token, in other case", strings.ToLower(idA), tokenA, nil, true}, {"no token", idA, "", nil, false},
		{"a wrong token", idA, "wrong", nil, false}, {"the token of another", idA, tokenB, nil, false}, {"a machine that is not listed", "C4B5C6D7", tokenA, nil, false},
		{"its certificate", idB, "", []tls.Certificate{pair}, true}, {"the certificate of another", idA, "", []tls.Certificate{pair}, false},
	} {
		m := r.mac(t, c.id, c.token, c.certs...)
		if err := m.sync(false); (err == nil) != c.in || err != nil && !strings.Contains(err.Error(), "401") {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	if err := os.WriteFile(r.cfg.Tokens, []byte(idA+" another-token-0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.mac(t, idA, tokenA).sync(false); err == nil {
		t.Error("a token that was taken back lets in")
	}
	if err := r.mac(t, idA, "another-token-0123456789").sync(false); err != nil {
		t.Error(err)
	}
}

func TestMistakesInTokens(t *testing.T) {
	for _, text := range []string{"x", "x short", "x/y " + tokenA, idA + " " + tokenA + " more", idA + " " + tokenA + "\n" + idA + " " + tokenB, idA + " " + tokenA + "\n" + idB + " " + tokenA} {
		tokens := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(tokens, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := santa.New(santa.Config{Listen: "127.0.0.1:0", Tokens: tokens}, santa.Deps{}); err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := santa.New(santa.Config{Listen: "127.0.0.1:0"}, santa.Deps{}); err == nil {
		t.Error("everybody would be let in")
	}
}
