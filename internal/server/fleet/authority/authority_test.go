package authority_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/server/fleet/authority"
)

func open(t *testing.T, dir string) *authority.Authority {
	t.Helper()
	a, err := authority.Open(dir, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestKeysAreMadeOnce: a restart has the same keys, and some of them alone are refused.
func TestKeysAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	b := open(t, dir)
	if a.Name() != b.Name() || a.Pin() != b.Pin() || a.Verifier() != b.Verifier() {
		t.Error("other keys after a restart")
	}
	for _, name := range []string{"fleet-ca.key", "fleet-policy.key"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "fleet-policy.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := authority.Open(dir, clock.System{}); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("a lost key: %v", err)
	}
}

func TestSign(t *testing.T) {
	a := open(t, t.TempDir())
	v, err := note.NewVerifier(a.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := a.Sign(protocol.Manifest{Scope: protocol.AllHosts, Generation: 1, Created: time.Now().UTC()})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := protocol.Open(signed, v); err != nil || m.Fleet != a.Name() {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestIssue: an agent's certificate is good for being a client and for nothing else.
func TestIssue(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := protocol.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	request, err := protocol.ParseRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	raw, ends, err := a.Issue(request, "host-1")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	pemCA, err := os.ReadFile(filepath.Join(dir, "fleet-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pemCA)
	for usage, good := range map[x509.ExtKeyUsage]bool{x509.ExtKeyUsageClientAuth: true, x509.ExtKeyUsageServerAuth: false, x509.ExtKeyUsageCodeSigning: false} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); (err == nil) != good {
			t.Errorf("usage %v: %v", usage, err)
		}
	}
	if cert.Subject.CommonName != "host-1" || cert.IsCA || time.Until(ends) > authority.AgentLife {
		t.Errorf("%+v", cert.Subject)
	}
}
