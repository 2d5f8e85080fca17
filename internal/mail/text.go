package mail

import (
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"strings"
	"time"
)

// text writes the mail (RFC 5322), marked as no answer's business (RFC 3834, section 5).
func (s *Sender) text(m Message) (string, error) {
	var b strings.Builder
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", s.c.From)
	header("To", strings.Join(s.c.To, ", "))
	header("Subject", mime.QEncoding.Encode("utf-8", strings.NewReplacer("\r", " ", "\n", " ").Replace(m.Subject)))
	header("Date", m.Time.Format(time.RFC1123Z))
	header("Message-ID", s.messageID())
	header("Auto-Submitted", "auto-generated")
	header("MIME-Version", "1.0")
	if len(m.Attachments) == 0 {
		header("Content-Type", "text/plain; charset=utf-8")
		header("Content-Transfer-Encoding", "8bit")
		b.WriteString("\r\n" + lines(m.Text))
		return b.String(), nil
	}
	parts := multipart.NewWriter(&b)
	header("Content-Type", "multipart/mixed; boundary="+parts.Boundary())
	b.WriteString("\r\n")
	err := writeParts(parts, m)
	return b.String(), err
}

func writeParts(parts *multipart.Writer, m Message) error {
	w, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Transfer-Encoding": {"8bit"}})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, lines(m.Text)); err != nil {
		return err
	}
	for _, a := range m.Attachments {
		w, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {a.Type}, "Content-Transfer-Encoding": {"base64"},
			"Content-Disposition": {mime.FormatMediaType("attachment", map[string]string{"filename": a.Name})}})
		if err != nil {
			return err
		}
		if err := writeBase64(w, a.Data); err != nil {
			return err
		}
	}
	return parts.Close()
}

// writeBase64 writes lines of 76 characters (RFC 2045, section 6.8).
func writeBase64(w io.Writer, data []byte) error {
	const octets = 57
	for len(data) > 0 {
		n := min(octets, len(data))
		if _, err := io.WriteString(w, base64.StdEncoding.EncodeToString(data[:n])+"\r\n"); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// lines breaks each line of a text where it is longer than a mail's should be (RFC 5322, section 2.1.1).
func lines(text string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		b.WriteString(wrap(line) + "\r\n")
	}
	return b.String()
}

// wrap breaks a text into short lines.
func wrap(text string) string {
	var b strings.Builder
	width := 0
	for _, w := range strings.Fields(text) {
		if width > 0 && width+len(w) > 78 {
			b.WriteString("\r\n")
			width = 0
		} else if width > 0 {
			b.WriteString(" ")
		}
		b.WriteString(w)
		width += len(w) + 1
	}
	return b.String()
}
