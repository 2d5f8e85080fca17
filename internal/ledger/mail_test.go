package ledger_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	stdmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
	"github.com/chaperone-im/chaperone/internal/mail"
	"github.com/chaperone-im/chaperone/internal/mail/mailtest"
)

// TestCheckpointByMail sends a bundle by a real mail server; what the auditor saves of it proves the record, and names what was changed.
func TestCheckpointByMail(t *testing.T) {
	s := mailtest.Start(t, nil)
	to, err := ledger.MailRecipient("mailto:auditor@example.net,board@example.net", mail.Config{Server: s.Address, From: "chaperone@example.org"})
	check(t, err)
	dir := t.TempDir()
	key, err := ledger.LoadOrCreateKey(t.TempDir(), "chaperone/test", time.Now)
	check(t, err)
	frames, err := ledgertest.Frames(5, 3, 1)
	check(t, err)
	frames, err = ledgertest.Build(dir, key, frames)
	check(t, err)
	b, err := ledgertest.BundleOf(key, frames, 0)
	check(t, err)
	check(t, to.Outlet.Send(t.Context(), b))
	got := <-s.Mails
	if strings.Join(got.To, ",") != "auditor@example.net,board@example.net" {
		t.Errorf("to %v", got.To)
	}
	files := attached(t, got.Text)
	if string(files["checkpoint-00000000000000000000-00000000000000000005.txt"]) != b.Checkpoint {
		t.Errorf("the note is %q", files)
	}
	saved := filepath.Join(t.TempDir(), "saved.json")
	check(t, os.WriteFile(saved, files["checkpoint-00000000000000000000-00000000000000000005.json"], 0o600))
	r, err := verify.Verify(context.Background(), dir, verify.Options{Checkpoint: saved})
	check(t, err)
	if r.Verdict != verify.Proven {
		t.Errorf("%v %s", r.Verdict, r.Words)
	}
}

func TestMailRecipients(t *testing.T) {
	good := mail.Config{Server: "mail.example.org:587", From: "a@example.org"}
	for spec, c := range map[string]mail.Config{"mailto:x@example.org": {}, "mailto:": good, "mailto:nobody": good, "mailto:x@example.org?subject=y": good, "mail:x@example.org": good} {
		if _, err := ledger.MailRecipient(spec, c); err == nil {
			t.Errorf("%s with %q is taken", spec, c.Server)
		}
	}
}

// attached returns the files in a mail, by name.
func attached(t *testing.T, text string) map[string][]byte {
	t.Helper()
	read, err := stdmail.ReadMessage(strings.NewReader(text))
	check(t, err)
	_, params, err := mime.ParseMediaType(read.Header.Get("Content-Type"))
	check(t, err)
	out := map[string][]byte{}
	for parts := multipart.NewReader(read.Body, params["boundary"]); ; {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		check(t, err)
		if p.FileName() == "" {
			continue
		}
		raw, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
		check(t, err)
		out[p.FileName()] = raw
	}
}
