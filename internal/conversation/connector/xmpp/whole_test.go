package xmpp_test

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/conversation/pipeline"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/inspect/malware"
	"github.com/chaperone-im/chaperone/internal/inspect/malware/clamdtest"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/storage/object"
)

// whole is a gateway with everything real behind it: the quickstart policy, the shipped inspectors and clamd, people and objects.
func whole(t *testing.T, recorder event.Recorder, address string) *setting {
	t.Helper()
	s := begin(t)
	set, err := rules.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	people, err := identity.ParsePeople(strings.NewReader("person,name,handle\nalice,Alice Archer,alice@example.org\nbob,Bob Baker,bob@example.org\n"))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := object.Open(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	runner := set.Runner(time.Minute)
	if address != "" {
		clamd, err := malware.New(address)
		if err != nil {
			t.Fatal(err)
		}
		runner = set.Runner(time.Minute, clamd)
	}
	if recorder == nil {
		recorder = s.journal
	}
	s.pipe = pipeline.New(pipeline.Config{Connector: "office"}, pipeline.Deps{
		Directory: people, Inspection: runner, Policy: set.Policy, Recorder: recorder, Objects: objects, Health: s.health})
	s.run(s.config(), s.pipe)
	return s
}

func TestQuickstartPolicyInLine(t *testing.T) {
	s := whole(t, nil, "")
	alice, bob := s.dial("alice"), s.dial("bob")
	alice.Say(s.ctx, "bob@example.org", "m1", "lunch? my order is 4111 1111 1111 1112")
	s.message(bob, "m1") // the check digit is wrong: no card
	alice.Say(s.ctx, "bob@example.org", "m2", "charge 4111-1111-1111-1111 please")
	if m := s.message(alice, "m2"); m.ErrorText() != "Card numbers may not be sent by chat." {
		t.Errorf("alice got %s", m.XML)
	}
	alice.Say(s.ctx, "bob@example.org", "m3", "let's move this to WhatsApp")
	s.message(bob, "m3")
	e := s.count(event.Message, "WhatsApp", 1)[0]
	if e.From.Person != "alice" || e.To[0].Person != "bob" || len(e.Verdict.Obligations) != 1 || e.Verdict.Obligations[0].Queue != "supervision" {
		t.Errorf("recorded from %+v to %+v with %+v", e.From, e.To, e.Verdict)
	}
	s.send(alice, "<message to='bob@example.org' type='chat' id='m4'><body>[OMEMO]</body><encrypted xmlns='urn:xmpp:omemo:2'/></message>")
	if m := s.message(alice, "m4"); m.Attr("type") != "error" {
		t.Errorf("alice got %s", m.XML)
	}
	for _, x := range []string{
		"<message to='bob@example.org' type='chat' id='4111111111111111'><received xmlns='urn:xmpp:receipts' id='m1'/></message>",
		"<presence id='p1'><status>4111-1111-1111-1111</status></presence>",
		"<presence id='p2' to='desk@rooms.example.org/4111111111111111'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
	} {
		s.send(alice, x)
		if m, err := alice.Next(s.ctx, func(m *xmpptest.Stanza) bool { return m.Attr("type") == "error" }); err != nil || m.ErrorText() != "Card numbers may not be sent by chat." {
			t.Errorf("%s: %v %+v", x, err, m)
		}
	}
}

func TestMalwareIsStoppedAndADeadScannerIsNotSilent(t *testing.T) {
	clamd := clamdtest.Start(t)
	s := whole(t, nil, clamd.Address)
	alice := s.dial("alice")
	upload := func(id, content string) (int, string) {
		put, _, auth := slotOf(t, s.grant(alice, id, id+".txt", len(content)))
		return s.http("PUT", put, auth, content)
	}
	if code, body := upload("good", "the plan"); code != http.StatusCreated {
		t.Errorf("a good file: %d %s", code, body)
	}
	if code, body := upload("bad", string(clamdtest.EICAR())); code != http.StatusForbidden || !strings.Contains(body, "malware") {
		t.Errorf("a bad file: %d %s", code, body)
	}
	clamd.Process.Kill()
	if code, body := upload("unseen", "the other plan"); code != http.StatusForbidden {
		t.Errorf("a file that nobody looked into: %d %s", code, body)
	}
	s.count(event.FileUpload, "", 3)
}

// TestSmallDisk fills the disk of the journal under a live gateway.
func TestSmallDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("needs root to mount a small file system:", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	key, err := seal.GenerateCompliance()
	if err != nil {
		t.Fatal(err)
	}
	recorder, err := openRecorder(dir, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s := whole(t, recorder, "")
	alice, bob := s.dial("alice"), s.dial("bob")
	text := strings.Repeat("all work and no play ", 500)
	var refusal string
	delivered := 0
	for i := 0; refusal == ""; i++ {
		id := "f" + strconv.Itoa(i)
		alice.Say(s.ctx, "bob@example.org", id, text)
		select {
		case <-s.ctx.Done():
			t.Fatal("the disk does not fill")
		default:
		}
		for s.ctx.Err() == nil { // one of them gets it
			if m, err := bob.Message(brief(t), id); err == nil && m.Attr("type") != "error" {
				delivered++
				break
			}
			if m, err := alice.Message(brief(t), id); err == nil && m.Attr("type") == "error" {
				refusal = m.ErrorText()
				break
			}
		}
	}
	if !strings.Contains(refusal, "could not be recorded") || s.health.Worst() != health.Failed || delivered == 0 {
		t.Errorf("refused with %q after %d, health %v", refusal, delivered, s.health.Worst())
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	alice.Say(s.ctx, "bob@example.org", "after", "there is space again")
	s.message(bob, "after")
	s.stop()
	if in := recorded(t, dir, key); !in["there is space again"] || !in[text] {
		t.Error("a delivered message is not in the journal")
	}
	if _, err := os.Stat(filepath.Join(dir, "journal")); err != nil {
		t.Error(err)
	}
}

// TestUpstreamOverTLS13 signs in with SCRAM through both protected legs: no channel binding may be offered on either.
func TestUpstreamOverTLS13(t *testing.T) {
	s := start(t, func(c *xmpp.Config, _ *pipeline.Config) { c.Upstream.TLS = xmpp.StartTLS })
	l := s.login("alice")
	l.TLS = &tls.Config{InsecureSkipVerify: true, ServerName: domain, MinVersion: tls.VersionTLS13}
	c := s.dialAs(l)
	c.Say(s.ctx, "alice@example.org", "m", "signed in")
	s.message(c, "m")
	if s.health.Worst() != health.OK {
		t.Errorf("health %+v", s.health.Items())
	}
}
