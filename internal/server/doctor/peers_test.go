package doctor_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/server/doctor"
)

// answering is a server that reads one request and gives one answer, until the test ends.
func answering(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if answer != "" {
				c.Read(make([]byte, 64))
				c.Write([]byte(answer))
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}

// TestAgeOfSignatures: clamd that says no age, one that cannot be read, and an old one.
func TestAgeOfSignatures(t *testing.T) {
	m := newMachine(t)
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		answer string
		state  doctor.State
		what   string
	}{
		{"ClamAV 1.4.3/27830/Tue Nov 24 09:00:00 2026\x00", doctor.OK, "clamd answers"},
		{"ClamAV 1.4.3/27000/Mon Jan  5 09:00:00 2026\x00", doctor.Warn, "Jan  5"},
		{"ClamAV 1.4.3/27830/yesterday\x00", doctor.Warn, "yesterday"},
		{"ClamAV 1.4.3\x00", doctor.Warn, "does not say the age"},
	} {
		at := answering(t, c.answer)
		found := m.examine("inspectors: {malware: {clamd: 'tcp:"+at+"'}}", doctor.Options{Now: func() time.Time { return now }})
		says(t, found, "malware", c.state, c.what)
	}
}

// TestRecipientsThatAnswer: of web and mail it is said that they are reached, and never that anything arrived; of what is here that it is.
func TestRecipientsThatAnswer(t *testing.T) {
	m, at := newMachine(t), answering(t, "")
	const mail = "\nalerts: {mail: {server: '%s', from: 'a@example.org', to: ['b@example.org']}}"
	for _, c := range []struct {
		config string
		state  doctor.State
		what   string
	}{
		{"ledger: {checkpoints: ['http://" + at + "/in']}", doctor.Warn, "is on this machine"},
		{"ledger: {checkpoints: ['mailto:c@example.org']}" + strings.Replace(mail, "%s", at, 1), doctor.OK, "look there"},
		{"ledger: {checkpoints: ['mailto:c@example.org']}" + strings.Replace(mail, "%s", "127.0.0.1:1", 1), doctor.Fail, "not reached"},
	} {
		says(t, m.examine(c.config, doctor.Options{}), "checkpoints", c.state, c.what)
	}
}
