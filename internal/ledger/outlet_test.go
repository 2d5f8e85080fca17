package ledger_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
)

// sample is a bundle of some frames.
func sample(t *testing.T, n int) ledger.Bundle {
	t.Helper()
	key, err := ledger.LoadOrCreateKey(t.TempDir(), "chaperone/test", time.Now)
	check(t, err)
	frames, err := ledgertest.Frames(n, 3, 1)
	check(t, err)
	frames, err = ledgertest.Build(t.TempDir(), key, frames)
	check(t, err)
	b, err := ledgertest.BundleOf(key, frames, 0)
	check(t, err)
	return b
}

// TestThisMachineIsNotOutside: a recipient that has an address of this machine acknowledges, and counts as no more than a folder here does.
func TestThisMachineIsNotOutside(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	to, err := ledger.ParseRecipient(srv.URL)
	check(t, err)
	r := start(t, t.TempDir(), to)
	r.append(t, 3, 1, 1)
	until(t, "health says that the recipient is here", func() bool {
		i := item(r.board, "checkpoints")
		return i.State == health.Degraded && strings.Contains(i.Detail, "on this machine") && strings.Contains(i.Detail, srv.URL) && i.Advice != ""
	})
	if _, _, ok := r.Window(context.Background()); ok {
		t.Error("a recipient on this machine counts as outside")
	}
	check(t, r.stop())

	name, err := os.Hostname()
	check(t, err)
	for spec, here := range map[string]bool{
		"http://127.0.0.1:8/in": true, "https://localhost/in": true, "https://[::1]/in": true, "http://127.9.9.9/": true, "https://[::ffff:127.0.0.1]/": true, "https://a.localhost./": true,
		"https://0.0.0.0/": true, "syslog:udp://127.0.0.1:514": true, "syslog:tcp://[::1]:601": true, "syslog:unix:/dev/log": true, "https://" + name + "/in": true,
		"https://192.0.2.1/in": false, "https://checkpoints.example.net/in": false, "syslog:udp://192.0.2.20:514": false, "https://localhost.example.net/": false,
		"file:/mnt/drop": false, "nonsense": false,
	} {
		if got := ledger.Local(spec); got != here {
			t.Errorf("%s is on this machine: %v", spec, got)
		}
	}
}

// elsewhere is an outlet as one on another machine is.
type elsewhere struct{ ledger.Outlet }

// TestNearFolderIsNotOutside: a folder on the file system of the data acknowledges, and health says what that is worth; one on another counts.
func TestNearFolderIsNotOutside(t *testing.T) {
	drop := t.TempDir()
	near, err := ledger.ParseRecipient("file:" + drop)
	check(t, err)
	r := start(t, t.TempDir(), near)
	r.append(t, 3, 1, 1)
	until(t, "health says that the copy is near", func() bool {
		i := item(r.board, "checkpoints")
		return i.State == health.Degraded && strings.Contains(i.Detail, "an administrator who can change the data can change that copy") && strings.Contains(i.Detail, drop) && i.Advice != ""
	})
	if _, _, ok := r.Window(context.Background()); ok {
		t.Error("a copy beside the data counts as outside")
	}
	check(t, r.stop())
	if res := r.verify(t, drop); res.Verdict != verify.Proven {
		t.Errorf("the copy is not worth what it is: %+v", res)
	}

	out := &flaky{}
	r = start(t, t.TempDir(), near, ledger.Recipient{Name: "out", Outlet: out})
	r.append(t, 3, 1, 1)
	until(t, "the one outside is named, which does not answer", func() bool { return strings.Contains(item(r.board, "checkpoints").Advice, "out: unreachable") })
	if i := item(r.board, "checkpoints"); i.State == health.OK {
		t.Errorf("health is %+v", i)
	}
	out.ok.Store(true)
	until(t, "the one outside counts", func() bool {
		n, _, ok := r.Window(context.Background())
		return ok && n == 0 && item(r.board, "checkpoints").State == health.OK
	})
	check(t, r.stop())
}

// TestFolderOnAnotherFileSystem counts as outside, also after one beside the data was mounted over.
func TestFolderOnAnotherFileSystem(t *testing.T) {
	drop, err := os.MkdirTemp("/dev/shm", "drop")
	if err != nil {
		t.Skip("there is no second file system: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(drop) })
	var here, there syscall.Stat_t
	dir := t.TempDir()
	check(t, errors.Join(syscall.Stat(dir, &here), syscall.Stat(drop, &there)))
	if here.Dev == there.Dev {
		t.Skip("there is no second file system: /dev/shm is that of the temporary folders")
	}
	link := filepath.Join(t.TempDir(), "drop")
	check(t, os.Symlink(t.TempDir(), link))
	to, err := ledger.ParseRecipient("file:" + link)
	check(t, err)
	r := start(t, dir, to)
	r.append(t, 1, 1, 1)
	until(t, "the copy is near", func() bool { return item(r.board, "checkpoints").State == health.Degraded })
	check(t, errors.Join(os.Remove(link), os.Symlink(drop, link)))
	r.append(t, 1, 1, 1)
	until(t, "the copy is outside", func() bool { return item(r.board, "checkpoints").State == health.OK })
	check(t, r.stop())
}

func TestFileDropNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	to, err := ledger.ParseRecipient("file:" + dir)
	check(t, err)
	b := sample(t, 2)
	check(t, to.Outlet.Send(context.Background(), b))
	check(t, to.Outlet.Send(context.Background(), b)) // sent again: it has it
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	check(t, err)
	if len(files) != 1 {
		t.Fatalf("%d files", len(files))
	}
	check(t, os.WriteFile(files[0], []byte("something else"), 0o600))
	if err := to.Outlet.Send(context.Background(), b); err == nil {
		t.Error("a file that was there was taken for the bundle")
	}
	if got, _ := os.ReadFile(files[0]); string(got) != "something else" {
		t.Error("a file that was there was overwritten")
	}
	gone, err := ledger.ParseRecipient("file:" + filepath.Join(dir, "no", "folder"))
	check(t, err)
	if err := gone.Outlet.Send(context.Background(), b); err == nil {
		t.Error("a folder that is not there acknowledged")
	}
}

func TestSyslogPartsMakeTheBundle(t *testing.T) {
	conn, err := net.ListenPacket("unixgram", filepath.Join(t.TempDir(), "log"))
	check(t, err)
	defer conn.Close()
	to, err := ledger.ParseRecipient("syslog:unix:" + conn.LocalAddr().String())
	check(t, err)
	b := sample(t, 20)
	sent := make(chan error, 1)
	go func() { sent <- to.Outlet.Send(context.Background(), b) }()
	form := regexp.MustCompile(`^<109>1 \S+ \S+ chaperone \d+ checkpoint \[checkpoint@32473 from="0" to="20" part="(\d+)" parts="(\d+)"\] (\S+)$`)
	var text strings.Builder
	buf := make([]byte, 64<<10)
	for done := false; !done; {
		n, _, err := conn.ReadFrom(buf)
		check(t, err)
		m := form.FindStringSubmatch(string(buf[:n]))
		if m == nil {
			t.Fatalf("%q", buf[:n])
		}
		text.WriteString(m[3])
		done = m[1] == m[2]
	}
	check(t, <-sent)
	raw, err := base64.StdEncoding.DecodeString(text.String())
	check(t, err)
	var back ledger.Bundle
	check(t, json.Unmarshal(raw, &back))
	if back.Checkpoint != b.Checkpoint || len(back.Frames) != 20 {
		t.Errorf("%+v", back)
	}
}

func TestWebhookAcknowledgesOnlyWith2xx(t *testing.T) {
	status := http.StatusFound
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Content-Type") != "application/json" || req.Method != http.MethodPost {
			t.Errorf("%s %s", req.Method, req.Header)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	to, err := ledger.ParseRecipient(srv.URL)
	check(t, err)
	b := sample(t, 1)
	for _, status = range []int{302, 400, 500} {
		if err := to.Outlet.Send(context.Background(), b); err == nil {
			t.Errorf("%d was taken for an acknowledgement", status)
		}
	}
	status = http.StatusAccepted
	check(t, to.Outlet.Send(context.Background(), b))
	srv.Close()
	if err := to.Outlet.Send(context.Background(), b); err == nil {
		t.Error("a server that is gone acknowledged")
	}
}

// flaky acknowledges when it is told to.
type flaky struct {
	ok   atomic.Bool
	sent atomic.Int64
}

func (f *flaky) Send(_ context.Context, b ledger.Bundle) error {
	if !f.ok.Load() {
		return errors.New("unreachable")
	}
	f.sent.Add(int64(len(b.Frames)))
	return nil
}

func TestProgressIsKeptPerRecipient(t *testing.T) {
	dir := t.TempDir()
	good, bad := &flaky{}, &flaky{}
	good.ok.Store(true)
	recipients := []ledger.Recipient{{Name: "good", Outlet: good}, {Name: "bad", Outlet: bad}}
	r := start(t, dir, recipients...)
	r.append(t, 5, 1, 1)
	until(t, "five frames at the good one", func() bool { return good.sent.Load() == 5 })
	until(t, "a degraded item that names the bad one", func() bool {
		i := item(r.board, "checkpoints")
		return i.State == health.Degraded && strings.Contains(i.Advice, "bad: unreachable")
	})
	check(t, r.stop())
	bad.ok.Store(true)
	r = start(t, dir, recipients...)
	until(t, "five frames at the bad one", func() bool { return bad.sent.Load() == 5 })
	until(t, "health", func() bool { return item(r.board, "checkpoints").State == health.OK })
	check(t, r.stop())
	if n := good.sent.Load(); n != 5 {
		t.Errorf("the good one got %d frames, some of them twice", n)
	}
	check(t, os.WriteFile(filepath.Join(dir, "state", "checkpoints.json"), []byte("{"), 0o600))
	if _, err := ledger.Open(context.Background(), dir, r.key, ledger.Options{Now: time.Now}); err == nil {
		t.Error("a damaged memory of what was acknowledged was accepted")
	}
}

func TestWindow(t *testing.T) {
	r := start(t, t.TempDir())
	if i := item(r.board, "checkpoints"); i.State != health.Failed || !strings.Contains(i.Advice, "ledger.checkpoints") {
		t.Errorf("health without recipients: %+v", i)
	}
	r.append(t, 4, 1, 1)
	until(t, "four frames", func() bool { return r.Size() == 4 })
	if frames, open, ok := r.Window(context.Background()); frames != 4 || open < 0 || ok {
		t.Errorf("window: %d frames, %s, %v", frames, open, ok)
	}
	check(t, r.stop())
}

// TestSignedAt: the time of a checkpoint is what its cosignature carries, and only this key's counts.
func TestSignedAt(t *testing.T) {
	when := time.Date(2026, 11, 24, 14, 30, 0, 0, time.UTC)
	now := func() time.Time { return when }
	key, err := ledger.LoadOrCreateKey(t.TempDir(), "chaperone/one", now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ledger.LoadOrCreateKey(t.TempDir(), "chaperone/one", now)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := key.Checkpoint(7, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if got := key.SignedAt(signed); !got.Equal(when) {
		t.Errorf("signed at %s", got)
	}
	if got := other.SignedAt(signed); !got.IsZero() {
		t.Errorf("another key's checkpoint was signed at %s", got)
	}
	for _, bad := range [][]byte{nil, []byte("x"), bytes.Replace(signed, []byte("\n7\n"), []byte("\n8\n"), 1)} {
		if got := key.SignedAt(bad); !got.IsZero() {
			t.Errorf("%q was signed at %s", bad, got)
		}
	}
}

func TestKeyTexts(t *testing.T) {
	dir := t.TempDir()
	first, err := ledger.LoadOrCreateKey(dir, "chaperone/one", time.Now)
	check(t, err)
	again, err := ledger.LoadOrCreateKey(dir, "chaperone/two", time.Now)
	check(t, err)
	if first.Verifier() != again.Verifier() || again.Origin() != "chaperone/one" {
		t.Error("a key that was there was not taken")
	}
	for _, bad := range []string{"", "PRIVATE+KEY+x", "PRIVATE+KEY+a+00000000+AAAA"} {
		if _, err := ledger.ParseKey(bad, time.Now); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	pub := filepath.Join(dir, "ledger.pub")
	for wrong, harm := range map[string]func() error{
		"":                               func() error { return nil },
		"it was missing":                 func() error { return os.Remove(pub) },
		"it was not that of ledger.key":  func() error { return os.WriteFile(pub, []byte("chaperone/two+00000000+AAAA"), 0o600) },
		"it was not that of ledger.key ": func() error { return os.Truncate(pub, 1<<20) },
	} {
		check(t, harm())
		said, err := first.Publish(dir)
		if raw, _ := os.ReadFile(pub); err != nil || said != strings.TrimSpace(wrong) || strings.TrimSpace(string(raw)) != first.Verifier() {
			t.Errorf("published, saying %q (%v): %s", said, err, raw)
		}
	}
	if _, err := ledger.LoadOrCreateKey(t.TempDir(), "a name with spaces", time.Now); err == nil {
		t.Error("an origin with spaces was accepted")
	}
}

// TestVerifyWhileItRuns verifies a store again and again while it is written.
func TestVerifyWhileItRuns(t *testing.T) {
	drop := t.TempDir()
	to, err := ledger.ParseRecipient("file:" + drop)
	check(t, err)
	to.Outlet = elsewhere{to.Outlet}
	r := start(t, t.TempDir(), to)
	r.append(t, 1, 1, 1)
	until(t, "a first bundle", func() bool { _, _, ok := r.Window(context.Background()); return ok })
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			r.append(t, 4, 2, 2)
		}
	}()
	for range 30 {
		if res := r.verify(t, ""); res.Verdict != verify.Consistent {
			t.Errorf("%+v", res)
		}
	}
	stop.Store(true)
	<-done
	check(t, r.stop())
	if res := r.verify(t, drop); res.Verdict != verify.Proven {
		t.Errorf("%+v", res)
	}
}

// TestManyFrames goes over several tiles and more than one bundle for a recipient that comes late.
func TestManyFrames(t *testing.T) {
	dir, drop := t.TempDir(), t.TempDir()
	key, err := ledger.LoadOrCreateKey(filepath.Join(dir, "keys"), "chaperone/test", time.Now)
	check(t, err)
	frames, err := ledgertest.Frames(2500, 1, 2)
	check(t, err)
	_, err = ledgertest.Build(dir, key, frames)
	check(t, err)
	check(t, os.RemoveAll(filepath.Join(dir, "ledger")))
	to, err := ledger.ParseRecipient("file:" + drop)
	check(t, err)
	to.Outlet = elsewhere{to.Outlet}
	r := start(t, dir, to)
	until(t, "all frames outside", func() bool { n, _, ok := r.Window(context.Background()); return ok && n == 0 && r.Size() == 2500 })
	check(t, r.stop())
	if res := r.verify(t, drop); res.Words[:6] != "PROVEN" || res.Ledger != 2500 {
		t.Errorf("%+v", res)
	}
}
