// Package certificate makes the certificate that a server signs itself, for the TLS of the console until its operator gives another.
package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/chaperone-im/chaperone/internal/outside"
)

// renewBefore is how long before its end a certificate of ours is made anew.
const renewBefore = 30 * 24 * time.Hour

// SelfSigned returns the certificate and key files NAME.crt and NAME.key in a folder: for this machine's names, loopback and the hosts
// given, good for two years. They are made when missing, when their end is near, and when they are not for all the hosts.
func SelfSigned(dir, name string, hosts ...string) (cert, key string, err error) {
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	if good(cert, key, hosts) {
		return cert, key, nil
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return "", "", err
	}
	names := []string{"localhost"}
	if machine, err := os.Hostname(); err == nil && machine != "" {
		names = append(names, machine)
	}
	addresses := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil && !ip.IsUnspecified() {
			addresses = append(addresses, ip)
		} else if ip == nil && h != "" {
			names = append(names, h)
		}
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "Chaperone " + name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(2, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IsCA: true, BasicConstraintsValid: true,
		DNSNames: names, IPAddresses: addresses}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", err
	}
	err = os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600)
	if err == nil {
		err = os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	}
	return cert, key, err
}

// good reports whether the files hold a pair that is valid for a while and for all the hosts.
func good(cert, key string, hosts []string) bool {
	pair, err := outside.KeyPair(cert, key)
	if err != nil || time.Now().Add(renewBefore).After(pair.Leaf.NotAfter) {
		return false
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); h == "" || ip != nil && ip.IsUnspecified() {
			continue
		}
		if pair.Leaf.VerifyHostname(h) != nil {
			return false
		}
	}
	return true
}
