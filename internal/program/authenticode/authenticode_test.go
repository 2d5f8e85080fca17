package authenticode

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/ayoubfaouzi/pkcs7"
)

// signature makes a signature over content, with a time stamp of the given moment when it is not zero.
func signature(t testing.TB, content []byte, stamp time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Example FZ-LLC", Organization: []string{"Example FZ-LLC"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := pkcs7.NewSignedData(content)
	if err != nil {
		t.Fatal(err)
	}
	var config pkcs7.SignerInfoConfig
	if !stamp.IsZero() {
		info, err := asn1.Marshal(struct {
			Version int
			Policy  asn1.ObjectIdentifier
			Imprint asn1.RawValue
			Serial  int
			Time    time.Time `asn1:"generalized"`
		}{1, asn1.ObjectIdentifier{1, 2, 3}, asn1.RawValue{FullBytes: []byte{0x30, 0}}, 7, stamp})
		if err != nil {
			t.Fatal(err)
		}
		config.ExtraUnsignedAttributes = []pkcs7.Attribute{{
			Type: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 3, 3, 1}, Value: asn1.RawValue{FullBytes: signature(t, info, time.Time{})},
		}}
	}
	if err := signed.AddSigner(certificate, key, config); err != nil {
		t.Fatal(err)
	}
	out, err := signed.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestParse(t *testing.T) {
	stamp := time.Date(2023, 4, 5, 6, 7, 8, 0, time.UTC)
	for _, at := range []time.Time{{}, stamp} {
		s, err := Parse(signature(t, []byte("content"), at), nil)
		if err != nil || s.Subject != "CN=Example FZ-LLC,O=Example FZ-LLC" || s.Issuer != s.Subject || !s.Time.Equal(at) {
			t.Errorf("stamped %v: %+v, %v", at, s, err)
		}
	}
	for _, bad := range [][]byte{nil, {0x30}, []byte("no signature at all")} {
		if _, err := Parse(bad, nil); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestNoStamp(t *testing.T) {
	p, err := pkcs7.Parse(signature(t, []byte("x"), time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stampTime(p); !errors.Is(err, errNoStamp) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(signature(f, []byte("content"), time.Time{}))
	f.Add(signature(f, []byte("content"), time.Unix(1700000000, 0)))
	f.Fuzz(func(_ *testing.T, der []byte) {
		_, _ = Parse(der, func(crypto.Hash) ([]byte, error) { return nil, nil }) // must end, whatever it says
	})
}
