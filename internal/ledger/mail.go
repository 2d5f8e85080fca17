package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/mail"
)

// mailEvery is the pause between two mails to a recipient: people read them.
const mailEvery = 15 * time.Minute

// MailRecipient makes the recipient of "mailto:auditor@example.org" (several are separated by commas), through the mail server of settings.
// Its mail server's acceptance is the acknowledgement.
func MailRecipient(spec string, settings mail.Config) (Recipient, error) {
	to, ok := strings.CutPrefix(spec, "mailto:")
	if !ok || strings.ContainsAny(to, "?%") {
		return Recipient{}, fmt.Errorf("checkpoint recipient %q: want mailto:name@domain", spec)
	}
	if settings.Server == "" {
		return Recipient{}, fmt.Errorf("checkpoint recipient %q: %w", spec, errors.New("the mail server is not configured: alerts.mail names it"))
	}
	settings.To = strings.Split(to, ",")
	s, err := mail.New(settings)
	if err != nil {
		return Recipient{}, fmt.Errorf("checkpoint recipient %q: %w", spec, err)
	}
	return Recipient{Name: spec, Outlet: &letters{s}}, nil
}

// letters mails each bundle.
type letters struct{ sender *mail.Sender }

// Every implements paced.
func (l *letters) Every() time.Duration { return mailEvery }

// Send mails the bundle, with the signed note beside it for who compares by eye.
func (l *letters) Send(ctx context.Context, b Bundle) error {
	raw, err := b.Encode()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("checkpoint-%020d-%020d", b.From, b.To)
	text := fmt.Sprintf(`This is a checkpoint of the record %s, with the hashes of the records in its frames %d to %d. Keep this mail where the record's administrator cannot change it.

chaperone verify --checkpoint %s.json DATA finds, with the attached file, any of these records that was changed or removed since. Nothing in it names anybody.

%s`, b.Origin, b.From, b.To, name, b.Checkpoint)
	return l.sender.Send(ctx, mail.Message{Subject: fmt.Sprintf("[Chaperone] checkpoint of %s, frames to %d", b.Origin, b.To), Text: text, Time: time.Now(),
		Attachments: []mail.Attachment{{Name: name + ".json", Type: "application/json", Data: raw}, {Name: name + ".txt", Type: "text/plain; charset=utf-8", Data: []byte(b.Checkpoint)}}})
}
