package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// running is a ledger that follows a journal.
type running struct {
	*ledger.Ledger
	dir     string
	key     *ledger.Key
	journal *ledgertest.Journal
	board   *health.Board
	stop    func() error
}

func start(t testing.TB, dir string, recipients ...ledger.Recipient) *running {
	t.Helper()
	r := &running{dir: dir, board: health.NewBoard(time.Now)}
	var err error
	r.key, err = ledger.LoadOrCreateKey(filepath.Join(dir, "keys"), "chaperone/test", time.Now)
	check(t, err)
	r.journal, err = ledgertest.OpenJournal(dir)
	check(t, err)
	r.Ledger, err = ledger.Open(context.Background(), dir, r.key, ledger.Options{Recipients: recipients, Every: time.Millisecond, Health: r.board, Now: time.Now})
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, r.journal) }()
	r.stop = func() error {
		cancel()
		return errors.Join(<-done, r.Close(context.Background()))
	}
	return r
}

func (r *running) append(t testing.TB, n, records, streams int) {
	t.Helper()
	frames, err := ledgertest.Frames(n, records, streams)
	check(t, err)
	for _, f := range frames {
		f.Head.Time = time.Now().UTC()
		check(t, r.journal.Append(f))
	}
}

// until waits for a condition that another goroutine brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *running) verify(t testing.TB, outside string) *verify.Result {
	t.Helper()
	res, err := verify.Verify(context.Background(), r.dir, verify.Options{Checkpoint: outside})
	check(t, err)
	return res
}

func item(b *health.Board, name string) health.Item {
	for _, i := range b.Items() {
		if i.Name == name {
			return i
		}
	}
	return health.Item{}
}

func TestFollowAndDrop(t *testing.T) {
	dir, drop := t.TempDir(), t.TempDir()
	to, err := ledger.ParseRecipient("file:" + drop)
	check(t, err)
	to.Outlet = elsewhere{to.Outlet}
	r := start(t, dir, to)
	r.append(t, 300, 2, 3)
	until(t, "all frames outside", func() bool {
		frames, _, ok := r.Window(context.Background())
		return ok && frames == 0 && r.Size() == 300
	})
	r.append(t, 5, 1, 1)
	check(t, r.stop())
	res := r.verify(t, drop)
	if frames, _, _ := r.Window(context.Background()); frames != 0 || res.Verdict != verify.Proven || res.Ledger != 305 || res.Uncommitted != 0 || res.Checkpoints < 2 {
		t.Fatalf("%+v", res)
	}
	if i := item(r.board, "checkpoints"); i.State != health.OK || !strings.Contains(i.Detail, "open window") {
		t.Errorf("health: %+v", i)
	}
	check(t, ledgertest.Tamper(dir, "019b0000-0000-7000-8000-000000000400", r.key))
	res = r.verify(t, drop)
	if res.Verdict != verify.Broken || res.Findings[0].Kind != verify.RecordRemoved || res.Findings[0].Record != "019b0000-0000-7000-8000-000000000400" {
		t.Errorf("after tampering: %+v", res.Findings)
	}
	if res = r.verify(t, ""); res.Words != verify.Consistent {
		t.Errorf("after tampering, nothing outside: %+v", res)
	}
	if _, err := os.Stat(filepath.Join(dir, "keys", "ledger.pub")); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(filepath.Join(dir, "keys", "ledger.key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("ledger.key: %v %v", st.Mode(), err)
	}
}

func TestRestartAddsNothingTwice(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		r := start(t, dir)
		r.append(t, 10, 1, 2)
		check(t, r.stop())
		if want := uint64(10 * (round + 1)); r.Size() != want {
			t.Fatalf("%d leaves, want %d", r.Size(), want)
		}
		if res := r.verify(t, ""); res.Verdict != verify.Consistent || res.Uncommitted != 0 {
			t.Fatalf("%+v", res)
		}
	}
}

// interrupted is a journal whose first reading is ended in the middle by a stop.
type interrupted struct {
	*ledgertest.Journal
	once atomic.Bool
	stop context.CancelFunc
}

func (j *interrupted) Frames(ctx context.Context, stream string, from uint64) iter.Seq2[journal.Frame, error] {
	return func(yield func(journal.Frame, error) bool) {
		n := 0
		for f, err := range j.Journal.Frames(ctx, stream, from) {
			if n == 3 && j.once.CompareAndSwap(false, true) {
				j.stop()
				yield(journal.Frame{}, ctx.Err())
				return
			}
			n++
			if !yield(f, err) {
				return
			}
		}
	}
}

// TestInterruptedReadingAddsNothingTwice holds that what was handed to the log is waited for, whatever ends the reading.
func TestInterruptedReadingAddsNothingTwice(t *testing.T) {
	dir := t.TempDir()
	key, err := ledger.LoadOrCreateKey(filepath.Join(dir, "keys"), "chaperone/test", time.Now)
	check(t, err)
	j, err := ledgertest.OpenJournal(dir)
	check(t, err)
	frames, err := ledgertest.Frames(20, 1, 1)
	check(t, err)
	for _, f := range frames {
		check(t, j.Append(f))
	}
	l, err := ledger.Open(context.Background(), dir, key, ledger.Options{Now: time.Now})
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	check(t, errors.Join(l.Run(ctx, &interrupted{Journal: j, stop: cancel}), l.Close(context.Background())))
	res, err := verify.Verify(context.Background(), dir, verify.Options{})
	check(t, err)
	if res.Verdict != verify.Consistent || res.Ledger != 20 {
		t.Errorf("%d leaves: %+v", res.Ledger, res.Findings)
	}
}

// balky is a journal that cannot be read for a while, once it is told to.
type balky struct {
	*ledgertest.Journal
	fails atomic.Int64
}

func (b *balky) Frames(ctx context.Context, stream string, from uint64) iter.Seq2[journal.Frame, error] {
	if b.fails.Add(-1) >= 0 {
		return func(yield func(journal.Frame, error) bool) {
			yield(journal.Frame{}, errors.New("the disk does not answer"))
		}
	}
	return b.Journal.Frames(ctx, stream, from)
}

// TestStopCoversTheLastFrame: what fails while the ledger stops is tried again, and nothing is left outside the last checkpoint.
func TestStopCoversTheLastFrame(t *testing.T) {
	r := start(t, t.TempDir())
	r.append(t, 10, 1, 2)
	check(t, r.stop())
	l, err := ledger.Open(context.Background(), r.dir, r.key, ledger.Options{Now: time.Now})
	check(t, err)
	b := &balky{Journal: r.journal}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, b) }()
	r.append(t, 1, 1, 1)
	until(t, "it follows", func() bool { return l.Size() == 11 })
	b.fails.Store(3)
	r.append(t, 400, 1, 2)
	cancel()
	check(t, errors.Join(<-done, l.Close(context.Background())))
	if res := r.verify(t, ""); res.Uncommitted != 0 || res.Ledger != 411 || res.Verdict != verify.Consistent || b.fails.Load() >= 0 {
		t.Errorf("%+v", res)
	}
}

// TestKilled kills a process that appends to journal and ledger and looks after each kill that nothing is missing or there twice.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("LEDGER_TEST_VICTIM"); dir != "" {
		r := start(t, dir)
		for {
			r.append(t, 3, 1, 2)
		}
	}
	dir := t.TempDir()
	for range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "LEDGER_TEST_VICTIM="+dir)
		check(t, cmd.Start())
		before := leaves(dir)
		until(t, "progress", func() bool { return leaves(dir) > before })
		check(t, cmd.Process.Kill())
		_ = cmd.Wait()
		r := start(t, dir)
		streams, err := r.journal.Streams()
		check(t, err)
		total := uint64(0)
		for _, n := range streams {
			total += n
		}
		until(t, "all frames in the ledger", func() bool { return r.Size() == total })
		check(t, r.stop())
		if res := r.verify(t, ""); res.Verdict != verify.Consistent || res.Ledger != total || res.Uncommitted != 0 {
			t.Fatalf("after a kill: %d frames in the journal: %+v", total, res)
		}
	}
}

// leaves reads the size in a store's checkpoint.
func leaves(dir string) int {
	b, err := os.ReadFile(filepath.Join(dir, "ledger", "checkpoint"))
	if err != nil {
		return -1
	}
	n := 0
	for _, c := range strings.SplitN(string(b), "\n", 3)[1] {
		n = n*10 + int(c-'0')
	}
	return n
}

// TestSweep puts down what a crash can leave beyond the tree, and appends the same frames in another order.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.append(t, 5, 1, 2)
	check(t, r.stop())
	tiles := filepath.Join(dir, "ledger", "tile")
	for _, orphan := range []string{"entries/000.p/6", "entries/000.p/7", "entries/000", "entries/001", "entries/001.p/1", "0/000.p/6", "0/000", "0/001.p/3", "1/000.p/1", "entries/000.p/6123"} {
		path := filepath.Join(tiles, filepath.FromSlash(orphan))
		check(t, os.MkdirAll(filepath.Dir(path), 0o700))
		check(t, os.WriteFile(path, []byte("left by a crash"), 0o600))
	}
	r = start(t, dir)
	r.append(t, 3, 1, 1)
	check(t, r.stop())
	if res := r.verify(t, ""); res.Verdict != verify.Consistent || res.Ledger != 8 {
		t.Errorf("after a crash: %+v", res)
	}
}

func TestOtherJournalIsRefused(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.append(t, 3, 1, 1)
	check(t, r.stop())
	check(t, os.RemoveAll(filepath.Join(dir, "journal")))
	j, err := ledgertest.OpenJournal(dir)
	check(t, err)
	frames, err := ledgertest.Frames(5, 2, 1)
	check(t, err)
	for _, f := range frames {
		check(t, j.Append(f))
	}
	l, err := ledger.Open(context.Background(), dir, r.key, ledger.Options{Health: r.board, Now: time.Now})
	check(t, err)
	if err := l.Check(context.Background(), j); !errors.Is(err, ledger.ErrDiverged) {
		t.Errorf("another journal: %v", err)
	}
	empty, err := ledgertest.OpenJournal(t.TempDir())
	check(t, err)
	if err := l.Check(context.Background(), empty); !errors.Is(err, ledger.ErrDiverged) {
		t.Errorf("an empty journal: %v", err)
	}
	if err := l.Run(context.Background(), j); !errors.Is(err, ledger.ErrDiverged) {
		t.Errorf("another journal: %v", err)
	}
	if i := item(r.board, "ledger"); i.State != health.Failed {
		t.Errorf("health: %+v", i)
	}
	check(t, l.Close(context.Background()))
	other, err := ledger.LoadOrCreateKey(t.TempDir(), "chaperone/test", time.Now)
	check(t, err)
	if _, err := ledger.Open(context.Background(), dir, other, ledger.Options{Now: time.Now}); err == nil {
		t.Error("another key was accepted")
	}
}

func TestWebhook(t *testing.T) {
	var calls, frames atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if calls.Add(1) == 1 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		var b ledger.Bundle
		if err := json.NewDecoder(req.Body).Decode(&b); err != nil || b.Type != ledger.BundleType {
			t.Errorf("%v %+v", err, b)
		}
		frames.Add(int64(len(b.Frames)))
	}))
	defer srv.Close()
	to, err := ledger.ParseRecipient(srv.URL + "/checkpoints")
	check(t, err)
	r := start(t, t.TempDir(), to)
	if i := item(r.board, "checkpoints"); i.State != health.Failed || !strings.Contains(i.Detail, "no recipient outside") {
		t.Errorf("health before the first acknowledgement: %+v", i)
	}
	r.append(t, 7, 1, 1)
	until(t, "seven frames at the webhook", func() bool { return frames.Load() == 7 })
	check(t, r.stop())
}

func TestSyslog(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(t, err)
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer tcp.Close()
	got := make(chan string, 2)
	go func() {
		b := make([]byte, 4096)
		n, _, _ := udp.ReadFrom(b)
		got <- string(b[:n])
	}()
	go func() {
		c, err := tcp.Accept()
		if err == nil {
			b, _ := io.ReadAll(c)
			got <- string(b)
		}
	}()
	for _, spec := range []string{"syslog:udp://" + udp.LocalAddr().String(), "syslog:tcp://" + tcp.Addr().String()} {
		to, err := ledger.ParseRecipient(spec)
		check(t, err)
		check(t, to.Outlet.Send(context.Background(), ledger.Bundle{Version: 1, From: 3, To: 9}))
		m := <-got
		if !strings.Contains(m, "<109>1 ") || !strings.Contains(m, `[checkpoint@32473 from="3" to="9" part="1" parts="1"] ey`) {
			t.Errorf("%s: %q", spec, m)
		}
	}
}

func TestParseRecipient(t *testing.T) {
	for _, bad := range []string{"", "ftp://x", "http://192.0.2.1/", "syslog:sctp://x:1", "syslog:udp://x", "https://[::1"} {
		if _, err := ledger.ParseRecipient(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// BenchmarkAppend is the time from a durable frame to a signed checkpoint over it, one frame at a time.
func BenchmarkAppend(b *testing.B) {
	r := start(b, b.TempDir())
	for i := 0; b.Loop(); i++ {
		r.append(b, 1, 1, 1)
		until(b, "a checkpoint", func() bool { return leaves(r.dir) > i })
	}
	check(b, r.stop())
}

var _ journal.Reader = (*ledgertest.Journal)(nil)
