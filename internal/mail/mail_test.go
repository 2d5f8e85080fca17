package mail_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	stdmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/mail"
	"github.com/chaperone-im/chaperone/internal/mail/mailtest"
)

// TestAttachments sends bytes of every kind, and reads them back with the standard library.
func TestAttachments(t *testing.T) {
	s := mailtest.Start(t, nil)
	m, err := mail.New(mail.Config{Server: s.Address, From: "a@example.org", To: []string{"b@example.org", "c@example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]byte, 1000)
	for i := range all {
		all[i] = byte(i)
	}
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	err = m.Send(t.Context(), mail.Message{Subject: "é\r\nBcc: x@evil.example", Text: "one\n.\nthree " + strings.Repeat("word ", 100), Time: at,
		Attachments: []mail.Attachment{{Name: "a.bin", Type: "application/octet-stream", Data: all}, {Name: "empty.txt", Type: "text/plain"}}})
	if err != nil {
		t.Fatal(err)
	}
	got := <-s.Mails
	read, err := stdmail.ReadMessage(strings.NewReader(got.Text))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
	if err != nil || subject != "é  Bcc: x@evil.example" || read.Header.Get("Bcc") != "" {
		t.Errorf("subject %q %v", subject, err)
	}
	if date, err := read.Header.Date(); err != nil || !date.Equal(at) {
		t.Errorf("date %v %v", date, err)
	}
	_, params, err := mime.ParseMediaType(read.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(read.Body, params["boundary"])
	var bodies []string
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(p)
		if p.Header.Get("Content-Transfer-Encoding") == "base64" {
			if raw, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(raw), "\r\n", "")); err != nil {
				t.Fatal(err)
			}
		}
		bodies = append(bodies, p.FileName()+"|"+string(raw))
	}
	if len(bodies) != 3 || !strings.HasPrefix(bodies[0], "|one\r\n.\r\nthree word") || bodies[1] != "a.bin|"+string(all) || bodies[2] != "empty.txt|" {
		t.Errorf("%q", bodies)
	}
	for line := range bytes.SplitSeq([]byte(got.Text), []byte("\r\n")) {
		if len(line) > 100 {
			t.Errorf("a line of %d", len(line))
		}
	}
}

func TestRefusals(t *testing.T) {
	s := mailtest.Start(t, nil)
	for _, to := range []string{"nobody@example.org"} {
		m, err := mail.New(mail.Config{Server: s.Address, From: "a@example.org", To: []string{to}})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Send(t.Context(), mail.Message{Time: time.Now()}); err == nil || !strings.Contains(err.Error(), "no such mailbox") {
			t.Errorf("%s: %v", to, err)
		}
	}
	for _, c := range []mail.Config{{}, {Server: "x:25", From: "a@b", To: []string{"a b@c"}}, {Server: "x:25", From: "a@b", To: []string{"<a@b>"}}} {
		if _, err := mail.New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
