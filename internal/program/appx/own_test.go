package appx

import (
	"archive/zip"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/ayoubfaouzi/pkcs7"
)

// bundle is a package with the given signature.
func bundle(t *testing.T, signature []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range []struct {
		name string
		body []byte
	}{
		{"AppxMetadata/AppxBundleManifest.xml", []byte("<Bundle/>")}, {integrity, []byte("catalogue")}, {blockMap, []byte("<BlockMap/>")},
		{contentTypes, []byte("<Types/>")}, {signatureName, signature},
	} {
		p, err := w.Create(f.name)
		if err == nil {
			_, err = p.Write(f.body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// over signs a digest.
func over(t *testing.T, digest []byte) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	info, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}{pkix.AlgorithmIdentifier{Algorithm: pkcs7.OIDDigestAlgorithmSHA256}, digest})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := pkcs7.NewSignedData(slices.Concat([]byte{0x30, 0}, info)) // a description of no content, and the digest
	if err != nil {
		t.Fatal(err)
	}
	if err := signed.AddSigner(certificate, key, pkcs7.SignerInfoConfig{}); err != nil {
		t.Fatal(err)
	}
	out, err := signed.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(magic), out...)
}

// TestOwn signs a bundle without a tool; that what is signed is what Windows signs is for the tool to say.
func TestOwn(t *testing.T) {
	data := bundle(t, nil)
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	d, err := digest(data, z, crypto.SHA256)
	if err != nil || len(d) != 4+5*(4+32) {
		t.Fatalf("%d bytes, %v", len(d), err)
	}
	good := bundle(t, over(t, d))
	if s, err := signer(good); err != nil || !s.Verified || s.Subject != "CN=Example" {
		t.Errorf("%+v, %v", s, err)
	}
	for tag := range 5 { // each of the hashes counts
		bad := bytes.Clone(d)
		bad[4+tag*(4+32)+10] ^= 1
		if s, err := signer(bundle(t, over(t, bad))); err != nil || s.Verified || s.Unverified != "the file is not the one that was signed" {
			t.Errorf("%d: %+v, %v", tag, s, err)
		}
	}
	for at := range good[:bytes.Index(good, []byte(signatureName))-30] { // up to the record of the signature
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if s, err := signer(bad); err == nil && s.Verified {
			t.Errorf("byte %d: %+v", at, s)
		}
	}
}
