package mailtest_test

import (
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/mail"
	"github.com/chaperone-im/chaperone/internal/mail/mailtest"
)

func TestServerKeepsWhatItGets(t *testing.T) {
	s := mailtest.Start(t, nil)
	m, err := mail.New(mail.Config{Server: s.Address, From: "a@example.org", To: []string{"b@example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Send(t.Context(), mail.Message{Subject: "x", Text: "y", Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if got := <-s.Mails; got.Encrypted || len(got.To) != 1 || got.To[0] != "b@example.org" {
		t.Errorf("%+v", got)
	}
}
