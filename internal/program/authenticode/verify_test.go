package authenticode

import (
	"crypto"
	"encoding/asn1"
	"errors"
	"testing"
	"time"

	"github.com/ayoubfaouzi/pkcs7"

	"github.com/chaperone-im/chaperone/internal/program"
)

// TestCheckRefuses what is no signature over a file, and never asks for the digest of one by a hash that is broken.
func TestCheckRefuses(t *testing.T) {
	asked := false
	digest := func(crypto.Hash) ([]byte, error) { asked = true; return nil, errors.New("unreadable") }
	p, err := pkcs7.Parse(signature(t, []byte("no description and digest"), time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	var s program.Signer
	if Check(p, digest, &s); s.Verified || s.Unverified == "" || asked || len(s.Key) != 64 || !s.SelfSigned {
		t.Errorf("%+v", s)
	}
	p.Signers = nil
	s = program.Signer{}
	if Check(p, digest, &s); s.Verified || s.Unverified != "it has not exactly one signer" {
		t.Errorf("%+v", s)
	}
}

func TestHashes(t *testing.T) {
	for _, c := range []struct {
		oid  asn1.ObjectIdentifier
		want crypto.Hash
	}{{pkcs7.OIDDigestAlgorithmSHA1, crypto.SHA1}, {pkcs7.OIDDigestAlgorithmSHA256, crypto.SHA256}, {pkcs7.OIDDigestAlgorithmSHA512, crypto.SHA512},
		{pkcs7.OIDDigestAlgorithmMD5, 0}, {asn1.ObjectIdentifier{1, 2, 3}, 0}} {
		got, err := hashOf(c.oid)
		if got != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%v: %v, %v", c.oid, got, err)
		}
	}
	if err := keySigned("no key", crypto.SHA256, nil, nil); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}
