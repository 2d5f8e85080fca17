package alert_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chaperone-im/chaperone/internal/alert"
	"github.com/chaperone-im/chaperone/internal/mail/mailtest"
)

func sample() alert.Alert {
	return alert.Alert{Key: "rule cards", Title: "Rule cards matched\r\nBcc: x@evil.example", Detail: "message by office, verdict block", Severity: alert.Medium, Record: "0190a0b0-0000-7000-8000-000000000001",
		Time: time.Date(2026, 11, 25, 12, 0, 0, 123456789, time.UTC), Repeated: 4}
}

// valid checks that bytes are a finding as OCSF 1.3 defines it.
func valid(t *testing.T, raw []byte) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("testdata/ocsf-detection-finding.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Errorf("%v\n%s", err, raw)
	}
}

func TestOCSF(t *testing.T) {
	for _, a := range []alert.Alert{sample(), {Key: "heartbeat", Title: "Chaperone is at work", Severity: alert.Informational, Time: time.Now()},
		{Key: "health disk failed", Title: "disk has failed", Severity: alert.High, Time: time.Now()}} {
		raw, err := a.OCSF()
		if err != nil {
			t.Fatal(err)
		}
		valid(t, raw)
	}
	var f struct {
		Count   int   `json:"count"`
		Time    int64 `json:"time"`
		Finding struct{ UID string }
	}
	raw, _ := sample().OCSF()
	if err := json.Unmarshal(raw, &f); err != nil || f.Count != 5 || f.Time != sample().Time.UnixMilli() {
		t.Errorf("%+v %v", f, err)
	}
}

func TestWebhook(t *testing.T) {
	answer := http.StatusNoContent
	var got []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			t.Error("a redirect was followed")
		}
		got, _ = io.ReadAll(r.Body)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(answer)
	}))
	defer srv.Close()
	c, err := alert.Webhook(srv.URL + "/hook/s3cret?token=s3cret")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	valid(t, got)
	answer = http.StatusFound
	if err := c.Send(t.Context(), sample()); err == nil || !strings.Contains(err.Error(), "302") {
		t.Errorf("a redirect gave %v", err)
	}
	srv.Close()
	err = c.Send(t.Context(), sample())
	if err == nil || strings.Contains(err.Error()+c.Name(), "s3cret") {
		t.Errorf("the error tells the token: %v, %s", err, c.Name())
	}
	for _, bad := range []string{"", "ftp://x/s3cret", "s3cret", "https:///x"} {
		if _, err := alert.Webhook(bad); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q gave %v", bad, err)
		}
	}
}

var syslogLine = regexp.MustCompile(`^<108>1 2026-11-25T12:00:00\.123456Z [!-~]+ chaperone \d+ alert - (\{.*\})$`)

func TestSyslog(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	send := func(spec string) {
		t.Helper()
		c, err := alert.Syslog(spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send(t.Context(), sample()); err != nil {
			t.Fatal(err)
		}
	}
	check := func(line string) {
		t.Helper()
		m := syslogLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not RFC 5424: %q", line)
		}
		valid(t, []byte(m[1]))
	}
	send("udp:" + u.LocalAddr().String())
	b := make([]byte, 1<<16)
	u.SetReadDeadline(time.Now().Add(2 * time.Minute))
	n, _, err := u.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	check(string(b[:n]))
	send("tcp:" + l.Addr().String())
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	all, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil {
		t.Fatal(err)
	}
	size, line, _ := strings.Cut(string(all), " ")
	if size != itoa(len(line)) {
		t.Errorf("octet count %s of %d bytes", size, len(line))
	}
	check(line)
	for _, bad := range []string{"", "udp:x", "unix:/dev/log", "tcp:host"} {
		if _, err := alert.Syslog(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestMail(t *testing.T) {
	web := httptest.NewUnstartedServer(nil) // for its certificate, of 127.0.0.1
	web.StartTLS()
	defer web.Close()
	trust := x509.NewCertPool()
	trust.AddCert(web.Certificate())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	encrypted := mailtest.Start(t, &tls.Config{Certificates: web.TLS.Certificates})
	plain := mailtest.Start(t, nil)
	send := func(c alert.MailConfig) error {
		t.Helper()
		c.From, c.To = "chaperone@example.org", []string{"a@example.org", "b@example.org"}
		m, err := alert.Mail(c)
		if err != nil {
			t.Fatal(err)
		}
		return m.Send(ctx, sample())
	}
	if err := send(alert.MailConfig{Server: encrypted.Address, User: "bot", Password: "s3cret", TLS: &tls.Config{RootCAs: trust}}); err != nil {
		t.Fatal(err)
	}
	got := <-encrypted.Mails
	if who := <-encrypted.Signed; who != "bot" || !got.Encrypted || strings.Join(got.To, ",") != "a@example.org,b@example.org" {
		t.Errorf("%s: %+v", who, got)
	}
	for _, want := range []string{"Subject: [Chaperone] Rule cards matched  Bcc: x@evil.example\r\n", "Auto-Submitted: auto-generated", "verdict block", "Repeated since the last mail: 4", string(sample().Record)} {
		if !strings.Contains(got.Text, want) {
			t.Errorf("the mail does not say %q:\n%s", want, got.Text)
		}
	}
	if err := send(alert.MailConfig{Server: encrypted.Address, TLS: &tls.Config{RootCAs: trust}}); err != nil || !(<-encrypted.Mails).Encrypted {
		t.Errorf("a server that encrypts was spoken to in the clear (%v)", err)
	}
	if err := send(alert.MailConfig{Server: encrypted.Address}); err == nil {
		t.Error("any certificate is trusted")
	}
	if err := send(alert.MailConfig{Server: plain.Address}); err != nil || (<-plain.Mails).Encrypted {
		t.Errorf("no mail without TLS: %v", err)
	}
	err := send(alert.MailConfig{Server: plain.Address, User: "bot", Password: "s3cret"})
	if err == nil || strings.Contains(err.Error(), "s3cret") || len(plain.Signed) > 0 {
		t.Errorf("a password went over an open line: %v", err)
	}
}

func TestMailAddresses(t *testing.T) {
	for _, c := range []alert.MailConfig{{Server: "x:25", From: "a@b"}, {Server: "x", From: "a@b", To: []string{"a@b"}}, {Server: "x:25", From: "a@b\r\nX: y", To: []string{"a@b"}}, {Server: "x:25", From: "a@b", To: []string{"root"}}} {
		if _, err := alert.Mail(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
