package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// ErrNotEnrolled says that the state folder holds no certificate.
var ErrNotEnrolled = errors.New("this machine is not enrolled: run it with an enrolment code")

// identity is what an agent got at enrolment, and pinned.
type identity struct {
	Server   string `json:"server"` // host:port
	ID       string `json:"id"`     // of this host, as the server gave it
	Fleet    string `json:"fleet"`
	Verifier string `json:"verifier"` // of the key that signs bundles
}

// maxStateFile bounds the small files of the state folder.
const maxStateFile = 64 << 10

// Names of files in the state folder.
const (
	keyFile      = "agent.key"
	certFile     = "agent.crt"
	caFile       = "fleet-ca.crt"
	identityFile = "fleet.json"
	ordersFile   = "orders.json"
	turnFile     = "turn"
	offersFile   = "offers.json"
)

func loadIdentity(dir string) (identity, error) {
	var id identity
	b, err := outside.ReadFile(filepath.Join(dir, identityFile), maxStateFile)
	if errors.Is(err, os.ErrNotExist) {
		return id, ErrNotEnrolled
	}
	if err == nil {
		err = json.Unmarshal(b, &id)
	}
	if err != nil {
		return id, fmt.Errorf("state of the agent: %s: %w", identityFile, err)
	}
	return id, nil
}

// loadOrCreateKey returns the machine's key, which never leaves it.
func loadOrCreateKey(dir string) (*ecdsa.PrivateKey, error) {
	path := filepath.Join(dir, keyFile)
	b, err := outside.ReadFile(path, maxStateFile)
	if err == nil {
		block, _ := pem.Decode(b)
		if block == nil {
			return nil, fmt.Errorf("%s is no key", path)
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		private, ok := key.(*ecdsa.PrivateKey)
		if err != nil || !ok {
			return nil, fmt.Errorf("%s is no key of an agent", path)
		}
		return private, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return key, durable.Replace(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// credentials are what TLS works with.
type credentials struct {
	certificate tls.Certificate
	leaf        *x509.Certificate
	roots       *x509.CertPool
}

func loadCredentials(dir string) (*credentials, error) {
	pair, err := outside.KeyPair(filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotEnrolled
	}
	if err != nil {
		return nil, fmt.Errorf("certificate of the agent: %w", err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("certificate of the agent: %w", err)
	}
	roots, err := outside.Authorities(filepath.Join(dir, caFile))
	if err != nil {
		return nil, fmt.Errorf("authority of the fleet: %w", err)
	}
	return &credentials{pair, leaf, roots}, nil
}

// tlsConfig trusts the pinned authority and nobody else.
func (c *credentials) tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: c.roots, ServerName: protocol.ServerName, NextProtos: []string{protocol.Streaming},
		Certificates: []tls.Certificate{c.certificate}}
}

// saveCertificate keeps a certificate that the server gave, when it is for our key and of the pinned authority.
func saveCertificate(dir string, key *ecdsa.PrivateKey, roots *x509.CertPool, der []byte, now time.Time) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	public, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || !public.Equal(&key.PublicKey) {
		return errors.New("certificate: for another key")
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return durable.Replace(filepath.Join(dir, certFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}
