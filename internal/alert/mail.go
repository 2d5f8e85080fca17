package alert

import (
	"context"
	"fmt"

	"github.com/chaperone-im/chaperone/internal/mail"
)

// MailConfig is how mail goes out.
type MailConfig = mail.Config

// Mail sends each alert as a mail.
func Mail(c MailConfig) (Channel, error) {
	s, err := mail.New(c)
	if err != nil {
		return nil, fmt.Errorf("alerts.mail: %w", err)
	}
	return letters{s}, nil
}

type letters struct{ sender *mail.Sender }

func (l letters) Name() string { return "mail " + l.sender.Server() }

func (l letters) Send(ctx context.Context, a Alert) error {
	text := fmt.Sprintf("%s\n\n%s\n\nRepeated since the last mail: %d\n", a.Title, a.Detail, a.Repeated)
	if a.Record != "" {
		text += fmt.Sprintf("Record: %s\n", a.Record)
	}
	return l.sender.Send(ctx, mail.Message{Subject: "[Chaperone] " + a.Title, Text: text, Time: a.Time})
}
