// Package exception holds what was approved although policy would stop it: programs by their hash, until a time.
//
// Where an agent cannot be reached, an administrator reads out a code. It says until when, and that somebody who has the agent's secret
// approved exactly this program (its SHA-256) on exactly this machine: HMAC-SHA-256 over all three, cut to 88 bits. A code is taken once.
package exception

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors of codes.
var (
	ErrCode    = errors.New("this code is not for this program on this machine")
	ErrExpired = errors.New("this code has expired")
	ErrUsed    = errors.New("this code was used before")
	ErrOften   = errors.New("too many wrong codes: wait a minute")
	ErrNone    = errors.New("this machine takes no codes")
	ErrUnknown = errors.New("no code approves this program")
)

const (
	macSize   = 11 // 88 bits, of which somebody may guess five a minute
	codeSize  = 4 + macSize
	groupSize = 6
	unit      = time.Hour // expiry is told in hours
	// MinSecret is the shortest secret, in bytes.
	MinSecret = 16
	// MaxTime is how long an exception by code may last.
	MaxTime = 366 * 24 * time.Hour
)

// alphabet is Crockford's: no I, L, O or U, which are misread or misheard.
var alphabet = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// Expiry rounds a time up to the hour, as codes tell it.
func Expiry(until time.Time) time.Time {
	return time.Unix(int64(hoursOf(until))*int64(unit/time.Second), 0).UTC()
}

func hoursOf(until time.Time) uint32 {
	return uint32((until.Unix() + int64(unit/time.Second) - 1) / int64(unit/time.Second))
}

// NewCode makes the code that approves a program on a machine until a time, which is rounded up to the hour.
func NewCode(secret []byte, host, sum string, until time.Time) (string, error) {
	hash, err := check(secret, sum)
	if err != nil {
		return "", err
	}
	hours := hoursOf(until)
	b := binary.BigEndian.AppendUint32(nil, hours)
	text := alphabet.EncodeToString(append(b, mac(secret, host, hash, hours)...))
	var groups []string
	for len(text) > groupSize {
		groups, text = append(groups, text[:groupSize]), text[groupSize:]
	}
	return strings.Join(append(groups, text), "-"), nil
}

// Verify returns until when a code approves the program on the machine.
func Verify(secret []byte, host, sum, code string, now time.Time) (time.Time, error) {
	hash, err := check(secret, sum)
	if err != nil {
		return time.Time{}, err
	}
	b, err := alphabet.DecodeString(plain(code))
	if err != nil || len(b) != codeSize || alphabet.EncodeToString(b) != plain(code) { // one way to write each code, so that it is taken once
		return time.Time{}, ErrCode
	}
	hours := binary.BigEndian.Uint32(b)
	if subtle.ConstantTimeCompare(b[4:], mac(secret, host, hash, hours)) != 1 {
		return time.Time{}, ErrCode
	}
	until := time.Unix(int64(hours)*int64(unit/time.Second), 0).UTC()
	if !until.After(now) || until.Sub(now) > MaxTime+unit {
		return time.Time{}, ErrExpired
	}
	return until, nil
}

// plain takes what people do to codes back: case, spaces, hyphens, look-alikes.
func plain(code string) string {
	code = strings.ToUpper(code)
	code = strings.Map(func(r rune) rune {
		switch r {
		case '-', ' ', '\t':
			return -1
		case 'O':
			return '0'
		case 'I', 'L':
			return '1'
		}
		return r
	}, code)
	return code
}

func check(secret []byte, sum string) ([]byte, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("the secret for codes has %d bytes, and needs %d", len(secret), MinSecret)
	}
	hash, err := hex.DecodeString(sum)
	if err != nil || len(hash) != sha256.Size {
		return nil, errors.New("a SHA-256 has 64 hexadecimal digits")
	}
	return hash, nil
}

func mac(secret []byte, host string, hash []byte, hours uint32) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("chaperone exception 1\x00"))
	h.Write(binary.BigEndian.AppendUint32(nil, hours))
	h.Write(hash)
	h.Write([]byte(strings.ToLower(host)))
	return h.Sum(nil)[:macSize]
}
