// Package authority holds the keys of a fleet: the authority that issues certificates of the server and its agents, and the key that signs
// what agents must do. They lie in the keys folder; who has them commands the fleet.
//
// The authority is the only one that agents trust, and it is pinned by the enrolment code. Certificates of agents say who they are by the
// random id of the host and nothing else. They live ninety days and are renewed over the stream from two thirds of that on; the server's own
// is made anew in memory at each start and each month.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Lifetimes of certificates.
const (
	AgentLife  = 90 * 24 * time.Hour
	serverLife = 60 * 24 * time.Hour
	caLife     = 20 * 365 * 24 * time.Hour
)

// Names of files in the keys folder.
const (
	caKeyFile  = "fleet-ca.key"
	caCertFile = "fleet-ca.crt"
	policyFile = "fleet-policy.key"
)

// Authority issues certificates and signs bundles.
type Authority struct {
	clock    clock.Clock
	key      *ecdsa.PrivateKey
	cert     *x509.Certificate
	signer   note.Signer
	verifier string

	mu     sync.Mutex
	server *tls.Certificate
}

// Open loads the keys of a fleet from a folder, and makes them when there are none. Some of them alone are a mistake, never a reason to make
// others: agents would refuse them.
func Open(dir string, c clock.Clock) (*Authority, error) {
	a := &Authority{clock: c}
	missing := 0
	for _, name := range []string{caKeyFile, caCertFile, policyFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, os.ErrNotExist) {
			missing++
		}
	}
	if missing == 3 {
		if err := create(dir, c.Now()); err != nil {
			return nil, fmt.Errorf("fleet keys: %w", err)
		}
	} else if missing > 0 {
		return nil, fmt.Errorf("fleet keys: some of %s, %s and %s are missing in %s: restore them from the backup of the keys", caKeyFile, caCertFile, policyFile, dir)
	}
	if err := a.load(dir); err != nil {
		return nil, fmt.Errorf("fleet keys: %w", err)
	}
	return a, nil
}

func create(dir string, now time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	name := "chaperone-fleet-" + event.RandomID()[:8]
	template := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(caLife), IsCA: true,
		BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	secret, _, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return err
	}
	return errors.Join(
		durable.Place(filepath.Join(dir, caKeyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600),
		durable.Place(filepath.Join(dir, caCertFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		durable.Place(filepath.Join(dir, policyFile), []byte(secret+"\n"), 0o600))
}

func serial() *big.Int {
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // crypto/rand does not fail
	return n
}

func (a *Authority) load(dir string) error {
	pair, err := outside.KeyPair(filepath.Join(dir, caCertFile), filepath.Join(dir, caKeyFile))
	if err != nil {
		return err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("%s is no key on P-256", caKeyFile)
	}
	a.key = key
	if a.cert, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		return err
	}
	secret, err := outside.ReadFile(filepath.Join(dir, policyFile), 4096)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(secret))
	if a.signer, err = note.NewSigner(text); err != nil {
		return fmt.Errorf("%s: %w", policyFile, err)
	}
	a.verifier, err = verifierOf(text)
	return err
}

// Name is the name of the fleet.
func (a *Authority) Name() string { return a.signer.Name() }

// Verifier is what agents pin of the key that signs bundles.
func (a *Authority) Verifier() string { return a.verifier }

// Pin is what enrolment codes say of the authority.
func (a *Authority) Pin() [16]byte { return protocol.PinOf(a.cert) }

// Sign signs a manifest.
func (a *Authority) Sign(m protocol.Manifest) ([]byte, error) {
	m.Fleet = a.Name()
	return protocol.Sign(m, a.signer)
}

// Issue issues an agent's certificate for a key that it proved to have.
func (a *Authority) Issue(r *x509.CertificateRequest, host string) ([]byte, time.Time, error) {
	now := a.clock.Now()
	ends := now.Add(AgentLife)
	template := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: host}, NotBefore: now.Add(-time.Hour), NotAfter: ends,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, r.PublicKey, a.key)
	if err != nil {
		return nil, ends, fmt.Errorf("issue a certificate: %w", err)
	}
	return der, ends, nil
}

// TLS returns the configuration of the listener: those who enrol show no certificate, agents one of ours. There is no resumption: a host that
// was revoked must not come back by a ticket. Records are as large as they may be: small ones at first, which help browsers, cost a system call
// each when a policy goes to ten thousand. Belongs says whether the machine of a certificate of ours, which is proven to have its key, belongs to
// the fleet; one that does not gets the alert bad_certificate, which nothing else here sends, and no stream.
func (a *Authority) TLS(belongs func(*x509.Certificate) error) *tls.Config {
	agents := x509.NewCertPool()
	agents.AddCert(a.cert)
	base := &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.serverCertificate() }}
	enrol, stream := base.Clone(), base.Clone()
	enrol.NextProtos = []string{protocol.Enrolling}
	stream.NextProtos = []string{protocol.Streaming}
	stream.ClientAuth, stream.ClientCAs = tls.RequireAndVerifyClientCert, agents
	stream.VerifyConnection = func(s tls.ConnectionState) error { return belongs(s.PeerCertificates[0]) }
	stream.Time, enrol.Time = a.clock.Now, a.clock.Now
	base.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, p := range h.SupportedProtos {
			switch p {
			case protocol.Streaming:
				return stream, nil
			case protocol.Enrolling:
				return enrol, nil
			}
		}
		return nil, errors.New("neither an agent nor one that enrols")
	}
	return base
}

// serverCertificate returns the server's certificate, made anew when half its life is over.
func (a *Authority) serverCertificate() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	if a.server != nil && now.Before(a.server.Leaf.NotAfter.Add(-serverLife/2)) {
		return a.server, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "fleet server"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(serverLife),
		DNSNames: []string{protocol.ServerName}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	var private crypto.PrivateKey = key
	a.server = &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: private, Leaf: leaf}
	return a.server, nil
}
