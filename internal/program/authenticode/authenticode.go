// Package authenticode reads who signed a Windows program or installer, and when, and checks that the signature is of the key it names and of
// the file it is in. It asks no authority: a program that claims to be a messenger is treated as one, whoever vouches for its maker.
package authenticode

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"github.com/ayoubfaouzi/pkcs7"

	"github.com/chaperone-im/chaperone/internal/program"
)

// Parse reads a signature in its DER form, as an MSI holds it, and checks it against the file when digest is not nil.
func Parse(der []byte, digest Digest) (s program.Signer, err error) {
	defer func() {
		if p := recover(); p != nil { // the library trusts lengths in places
			err = fmt.Errorf("authenticode: %v", p)
		}
	}()
	p, err := parse(der)
	if err != nil {
		return s, fmt.Errorf("authenticode: %w", err)
	}
	s = Signer(p)
	if digest != nil {
		Check(p, digest, &s)
	}
	return s, nil
}

// maxSigners bounds the signatures within a signature that are looked at.
const maxSigners = 8

// ParseAll reads a signature and those that are within it, one in another, as programs have them: for other hashes, say. What was read before an
// error counts.
func ParseAll(der []byte, digest Digest) (out []program.Signer, err error) {
	defer func() {
		if p := recover(); p != nil { // as above
			err = fmt.Errorf("authenticode: %v", p)
		}
	}()
	nested := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 4, 1}
	for range maxSigners {
		p, err := parse(der)
		if err != nil {
			return out, fmt.Errorf("authenticode: %w", err)
		}
		s := Signer(p)
		Check(p, digest, &s)
		out = append(out, s)
		var inner asn1.RawValue
		if p.UnmarshalUnsignedAttribute(nested, &inner) != nil {
			break // there is none
		}
		der = inner.FullBytes
	}
	return out, nil
}

// Signer reads who made one signature. A signer that is not in it has no subject.
func Signer(p *pkcs7.PKCS7) program.Signer {
	var s program.Signer
	if c := p.GetOnlySigner(); c != nil {
		s.Subject = program.Text(c.Subject.String())
		s.Issuer = program.Text(c.Issuer.String())
	}
	if at, err := stampTime(p); err == nil {
		s.Time = at
	}
	return s
}

var errNoStamp = errors.New("no time stamp")

// stampTime reads the time of an RFC 3161 time stamp, which Authenticode keeps in an unsigned attribute.
func stampTime(p *pkcs7.PKCS7) (time.Time, error) {
	oid := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 3, 3, 1}
	var raw asn1.RawValue
	if err := p.UnmarshalUnsignedAttribute(oid, &raw); err != nil {
		return time.Time{}, errNoStamp
	}
	token, err := parse(raw.FullBytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("time stamp: %w", err)
	}
	var info struct { // RFC 3161, section 2.4.2: TSTInfo
		Version int
		Policy  asn1.ObjectIdentifier
		Imprint asn1.RawValue
		Serial  asn1.RawValue
		Time    time.Time `asn1:"generalized"`
	}
	if _, err := asn1.Unmarshal(token.Content, &info); err != nil {
		return time.Time{}, fmt.Errorf("time stamp: %w", err)
	}
	return info.Time.UTC(), nil
}
