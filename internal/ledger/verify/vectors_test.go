package verify_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
)

var rewrite = flag.Bool("rewrite", false, "write the test vectors into the page")

var page = filepath.Join("..", "..", "..", "docs", "reference", "proof-format.md")

// fixedKey is the key of the test vectors.
func fixedKey(t testing.TB) *ledger.Key {
	const name = "chaperone/example"
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	sum := sha256.Sum256(append([]byte(name+"\n\x01"), public...))
	encoded := fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(append([]byte{1}, seed...)))
	key, err := ledger.ParseKey(encoded, func() time.Time { return signed })
	check(t, err)
	return key
}

// TestVectors holds the page's vectors against what the program writes.
func TestVectors(t *testing.T) {
	key := fixedKey(t)
	frames, err := ledgertest.Frames(1, 2, 1)
	check(t, err)
	dir := t.TempDir()
	frames, err = ledgertest.Build(dir, key, frames)
	check(t, err)
	bundle, err := ledgertest.BundleOf(key, frames, 0)
	check(t, err)
	raw, err := bundle.Encode()
	check(t, err)
	segment, err := journal.EncodeFrame(nil, &frames[0])
	check(t, err)
	var b strings.Builder
	block := func(title, text string) { fmt.Fprintf(&b, "%s:\n\n```\n%s\n```\n\n", title, strings.TrimSpace(text)) }
	for i, r := range frames[0].Records {
		block(fmt.Sprintf("Header of record %d", i+1), string(r.Header))
		block("Its leaf hash", hex.EncodeToString(rfc6962.DefaultHasher.HashLeaf(r.Header)))
	}
	block("The frame's head, which is the leaf", string(frames[0].HeadRaw))
	block("SHA-256 of the head, the next frame's `prev`", event.Digest(frames[0].HeadRaw))
	block("The frame, `journal/local/00000000000000000001.seg`, in base64", wrap(base64.StdEncoding.EncodeToString(segment)))
	block("The verifier key", key.Verifier())
	block("The checkpoint", bundle.Checkpoint)
	block("The bundle", string(raw))
	got := strings.TrimSpace(b.String()) + "\n"

	text, err := os.ReadFile(page)
	check(t, err)
	const mark = "broken into lines for reading.\n\n"
	before, have, found := strings.Cut(string(text), mark)
	if !found {
		t.Fatal("the page has no vectors")
	}
	if *rewrite {
		check(t, os.WriteFile(page, []byte(before+mark+got), 0o644))
	} else if have != got {
		t.Errorf("the page's vectors are not what is written now:\n%s", got)
	}
}

func wrap(s string) string {
	var b strings.Builder
	for len(s) > 120 {
		b.WriteString(s[:120] + "\n")
		s = s[120:]
	}
	return b.String() + s
}
