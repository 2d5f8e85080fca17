package xmpp_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/conversation/pipeline"
	"github.com/chaperone-im/chaperone/internal/event"
)

const nsUpload = "urn:xmpp:http:upload:0"

// grant asks for an upload slot.
func (s *setting) grant(c *xmpptest.Client, id, name string, size int) *xmpptest.Stanza {
	s.t.Helper()
	s.send(c, fmt.Sprintf("<iq type='get' id='%s' to='upload.example.org'><request xmlns='urn:xmpp:http:upload:0' filename='%s' size='%d' content-type='text/plain'/></iq>", id, name, size))
	i, err := c.Next(s.ctx, func(i *xmpptest.Stanza) bool { return i.Local == "iq" && i.Attr("id") == id })
	if err != nil {
		s.t.Fatal(err)
	}
	return i
}

func (s *setting) http(method, url, auth, body string) (int, string) {
	s.t.Helper()
	url = strings.Replace(url, "https://example.org:", "https://127.0.0.1:", 1)
	r, err := http.NewRequestWithContext(s.ctx, method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if auth != "" {
		r.Header.Set("Authorization", auth)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// slot takes an answer apart.
func slotOf(t *testing.T, i *xmpptest.Stanza) (put, get, auth string) {
	t.Helper()
	slot := i.Child(nsUpload, "slot")
	if slot == nil {
		t.Fatalf("no slot in %s", i.XML)
	}
	p := slot.Child(nsUpload, "put")
	if h := p.Child(nsUpload, "header"); h != nil {
		auth = h.Text
	}
	return p.Attr("url"), slot.Child(nsUpload, "get").Attr("url"), auth
}

func TestUploads(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.dial("alice"), s.dial("bob")
	ours := fmt.Sprintf("https://example.org:%s/", strings.Split(s.gateway.UploadAddress().String(), ":")[1])

	put, get, auth := slotOf(t, s.grant(alice, "u1", "plan.txt", 9))
	if !strings.HasPrefix(put, ours) || !strings.HasPrefix(get, ours) {
		t.Fatalf("slot %s %s does not go through %s", put, get, ours)
	}
	if code, body := s.http("PUT", put, auth, "too short"[:5]); code != http.StatusBadRequest || !strings.Contains(body, "not of the size that was asked for") || !strings.Contains(body, "Content-Length") {
		t.Errorf("a short file: %d %s", code, body)
	}
	if code, body := s.http("PUT", put, auth, "the plan!"); code != http.StatusCreated {
		t.Fatalf("%d %s\n%s", code, body, s.prosody.Log())
	}
	if code, _ := s.http("PUT", put, auth, "the plan!"); code != http.StatusNotFound {
		t.Errorf("a slot used twice: %d", code)
	}
	if code, body := s.http("GET", get, "", ""); code != http.StatusOK || body != "the plan!" {
		t.Errorf("%d %s", code, body)
	}
	e := s.count(event.FileUpload, "", 1)[0]
	if f := e.Files[0]; e.From.Handle != "alice@example.org" || f.Name != "plan.txt" || f.SHA256 != event.Digest([]byte("the plan!")) {
		t.Errorf("recorded %+v", e)
	}
	s.send(alice, "<message to='bob@example.org' type='chat' id='m1'><body>"+get+"</body><x xmlns='jabber:x:oob'><url>"+get+"</url></x></message>")
	s.message(bob, "m1")
	if m := s.count(event.Message, get, 1)[0]; len(m.Files) != 1 || m.Files[0].SHA256 != e.Files[0].SHA256 {
		t.Errorf("the message that names the file has %+v", m.Files)
	}

	put, get, auth = slotOf(t, s.grant(alice, "u2", "virus.txt", 9))
	code, body := s.http("PUT", put, auth, "EICAR ...")
	if code != http.StatusForbidden || !strings.Contains(body, "Card numbers") {
		t.Errorf("a bad file: %d %s", code, body)
	}
	if code, _ := s.http("GET", get, "", ""); code == http.StatusOK {
		t.Error("the bad file can be had")
	}
	s.send(alice, "<message to='bob@example.org' type='chat' id='m2'><body>"+get+"</body></message>")
	if m := s.message(alice, "m2"); m.Attr("type") != "error" {
		t.Errorf("a message that names the bad file: %s", m.XML)
	}
	for _, path := range []string{"/", "/admin", "/file_share/../admin", "/file_share/%2e%2e/admin", "/http-bind"} {
		if code, _ := s.http("GET", strings.TrimSuffix(ours, "/")+path, "", ""); code != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, code)
		}
	}
	s.journal.setFail(true)
	put, _, auth = slotOf(t, s.grant(alice, "u3", "plan.txt", 9))
	if code, body := s.http("PUT", put, auth, "the plan!"); code != http.StatusServiceUnavailable {
		t.Errorf("a file that cannot be recorded: %d %s", code, body)
	}
	if i := s.grant(alice, "u4", "huge.iso", 1<<40); i.Attr("type") != "error" {
		t.Errorf("a huge file: %s", i.XML)
	}
}

func TestWithoutUploadsSlotsAreRefused(t *testing.T) {
	s := start(t, func(c *xmpp.Config, _ *pipeline.Config) { c.Uploads = nil })
	if i := s.grant(s.dial("alice"), "u1", "plan.txt", 9); i.Attr("type") != "error" {
		t.Errorf("got %s", i.XML)
	}
}
