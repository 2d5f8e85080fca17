package authenticode

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // the hashes of newer signatures
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/ayoubfaouzi/pkcs7"

	"github.com/chaperone-im/chaperone/internal/program"
)

// Why a signature does not verify.
var (
	ErrDigest      = errors.New("the file is not the one that was signed")
	ErrSignature   = errors.New("the signature is not of the key in its certificate")
	ErrUnsupported = errors.New("its algorithm is not supported")
)

// Digest returns the hash of a file as Authenticode takes it, without the signature itself.
type Digest func(h crypto.Hash) ([]byte, error)

// Check says in s whether the signature is of the key that its certificate names, and of this very file. Whether that certificate is to be
// trusted is another question, which needs a list of authorities and is not asked.
func Check(p *pkcs7.PKCS7, digest Digest, s *program.Signer) {
	c := p.GetOnlySigner()
	if c == nil || len(p.Signers) != 1 {
		s.Unverified = "it has not exactly one signer"
		return
	}
	key := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	s.Key, s.SelfSigned = hex.EncodeToString(key[:]), bytes.Equal(c.RawSubject, c.RawIssuer)
	if err := verify(p, c, digest); err != nil {
		s.Unverified = program.Text(err.Error())
		return
	}
	s.Verified = true
}

func verify(p *pkcs7.PKCS7, c *x509.Certificate, digest Digest) error {
	hash, want, err := signed(p.Content)
	if err != nil {
		return err
	}
	got, err := digest(hash)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return ErrDigest
	}
	signer := &p.Signers[0]
	hash, err = hashOf(signer.DigestAlgorithm.Algorithm)
	if err != nil {
		return err
	}
	message := p.Content
	if len(signer.AuthenticatedAttributes) > 0 { // RFC 2315, section 9.3: then they are signed, and hold the digest of the content
		var inner []byte
		if err := p.UnmarshalSignedAttribute(pkcs7.OIDAttributeMessageDigest, &inner); err != nil {
			return ErrSignature
		}
		if !bytes.Equal(inner, sum(hash, p.Content)) {
			return ErrDigest
		}
		if message, err = attributes(signer.AuthenticatedAttributes); err != nil {
			return err
		}
	}
	return keySigned(c.PublicKey, hash, sum(hash, message), signer.EncryptedDigest)
}

// signed reads what was signed: SpcIndirectDataContent, which is a description and then the digest of the file.
func signed(content []byte) (crypto.Hash, []byte, error) {
	var about asn1.RawValue
	rest, err := asn1.Unmarshal(content, &about)
	if err != nil {
		return 0, nil, fmt.Errorf("what it signs: %w", err)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	if _, err := asn1.Unmarshal(rest, &info); err != nil {
		return 0, nil, fmt.Errorf("what it signs: %w", err)
	}
	h, err := hashOf(info.Algorithm.Algorithm)
	return h, info.Digest, err
}

// hashOf returns the hash of an identifier. MD5 is refused: two files of one MD5 are made in minutes. SHA-1 is what programs of before 2016
// are signed with; another file for a given SHA-1 cannot be made.
func hashOf(oid asn1.ObjectIdentifier) (crypto.Hash, error) {
	for h, o := range map[crypto.Hash]asn1.ObjectIdentifier{crypto.SHA1: pkcs7.OIDDigestAlgorithmSHA1, crypto.SHA256: pkcs7.OIDDigestAlgorithmSHA256,
		crypto.SHA384: pkcs7.OIDDigestAlgorithmSHA384, crypto.SHA512: pkcs7.OIDDigestAlgorithmSHA512} {
		if o.Equal(oid) && h.Available() {
			return h, nil
		}
	}
	return 0, ErrUnsupported
}

func sum(h crypto.Hash, b []byte) []byte {
	x := h.New()
	x.Write(b)
	return x.Sum(nil)
}

// attributes encodes signed attributes as they are signed: as a set, not with the tag that they have in the message.
func attributes[T any](list []T) ([]byte, error) {
	b, err := asn1.Marshal(struct {
		A []T `asn1:"set"`
	}{list})
	if err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	var outer asn1.RawValue
	if _, err := asn1.Unmarshal(b, &outer); err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	return outer.Bytes, nil
}

func keySigned(key any, h crypto.Hash, digest, sig []byte) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if rsa.VerifyPKCS1v15(k, h, digest, sig) != nil {
			return ErrSignature
		}
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(k, digest, sig) {
			return ErrSignature
		}
	default:
		return ErrUnsupported
	}
	return nil
}
