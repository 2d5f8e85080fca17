package console_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/console"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/search"
	"github.com/chaperone-im/chaperone/internal/storage/file"
	"github.com/chaperone-im/chaperone/internal/storage/object"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

const password = "correct horse battery"

// rig is a console over a real journal, ledger and archive in a folder of the test, with three accounts: adam administers, rita reviews and
// cora is counsel.
type rig struct {
	t         *testing.T
	dir       string
	server    *httptest.Server
	web       *console.Console
	objects   *object.Store
	observed  *sqlite.Observations
	journal   *file.Journal
	recorder  *journal.Recorder
	acts      *brake
	projector *archive.Projector
	opener    *seal.TreeOpener
	ledger    *ledger.Ledger
	holds     *retention.Holds
	board     *health.Board
	book      *account.Book
	rules     *rules.Set
	runner    *inspect.Runner
	store     *sqlite.Store
	veil      bool // pages show pseudonyms
	mu        sync.Mutex
	time      func() time.Time
}

// now is the time of the rig.
func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.time()
}

func (r *rig) setNow(now func() time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.time = now
}

// brake is a recorder that can be told to fail, as one does whose disk is full.
type brake struct {
	event.Recorder
	mu   sync.Mutex
	fail error
}

func (b *brake) Record(ctx context.Context, events ...*event.Event) error {
	b.mu.Lock()
	err := b.fail
	b.mu.Unlock()
	if err != nil {
		return err
	}
	return b.Recorder.Record(ctx, events...)
}

func (b *brake) set(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newRig starts a console whose clock stands at now.
func newRig(t *testing.T, now time.Time) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), time: func() time.Time { return now }}
	c := clock.Func(r.now)
	key := must[*seal.PrivateKey](t)(seal.GenerateCompliance())
	keys := filepath.Join(r.dir, "keys")
	var err error
	if r.journal, _, err = file.Open(r.dir, file.Options{Clock: c}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.journal.Close() })
	names := must[*file.Names](t)(file.OpenNames(r.dir))
	t.Cleanup(func() { names.Close() })
	sealer := must[*seal.TreeSealer](t)(seal.NewSealer(keys, []*seal.PublicKey{key.Public()}, c))
	r.recorder = journal.NewRecorder(r.journal, sealer, names, c)
	r.acts = &brake{Recorder: r.recorder}
	r.book = must[*account.Book](t)(account.Open(r.dir, c))
	r.board = health.NewBoard(r.now)
	r.opener = seal.NewOpener(keys, key, []*seal.PublicKey{key.Public()})
	store := must[*sqlite.Store](t)(sqlite.Open(filepath.Join(r.dir, "projections"), must[[]byte](t)(sqlite.LoadKey(filepath.Join(r.dir, "state", "projections.key"))), slog.New(slog.DiscardHandler)))
	t.Cleanup(func() { store.Close() })
	r.projector = archive.NewProjector(r.journal, r.opener, c, slog.New(slog.DiscardHandler), store)
	r.observed, _, err = sqlite.OpenObservations(filepath.Join(r.dir, "observations"), make([]byte, sqlite.KeySize), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.observed.Close() })
	r.objects = must[*object.Store](t)(object.Open(r.dir, 0))
	r.startLedger(c)
	r.accounts()
	r.holds = must[*retention.Holds](t)(retention.NewHolds(t.Context(), store, store, r.acts, c))
	r.store = store
	r.serve(c, store)
	return r
}

func (r *rig) startLedger(c clock.Clock) {
	r.t.Helper()
	key := must[*ledger.Key](r.t)(ledger.LoadOrCreateKey(filepath.Join(r.dir, "keys"), "chaperone/test", c.Now))
	r.ledger = must[*ledger.Ledger](r.t)(ledger.Open(r.t.Context(), r.dir, key, ledger.Options{Now: c.Now}))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ledger.Run(ctx, r.journal)
	}()
	r.t.Cleanup(func() {
		stop()
		<-done
		closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		r.ledger.Close(closing)
	})
}

func (r *rig) accounts() {
	r.t.Helper()
	for name, role := range map[string]control.Role{"adam": control.Administrator, "rita": control.Reviewer, "cora": control.Counsel} {
		if err := r.book.Create(name, []control.Role{role}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) serve(c clock.Clock, store *sqlite.Store) {
	r.t.Helper()
	cat := must[*catalog.Catalog](r.t)(catalog.Default())
	r.rules = must[*rules.Set](r.t)(rules.Load("", cat))
	r.runner = r.rules.Runner(time.Minute)
	apps := map[string]string{}
	for _, a := range cat.Apps() {
		apps[a.ID] = a.Name
	}
	searcher := search.New(store, r.holds)
	records := archive.New(archive.Driver{Records: store, Catalogue: store, Counts: store, Observations: r.observed}, r.acts, c)
	if r.veil {
		roll := pseudonym.New([]byte("key of the tests"))
		if err := records.Enrol(r.t.Context(), roll); err != nil {
			r.t.Fatal(err)
		}
		records = records.WithPseudonyms(roll, true)
	}
	r.web = must[*console.Console](r.t)(console.New(console.Deps{
		Archive:  records,
		Searcher: searcher,
		Policy:   func() *policy.Policy { return r.rules.Policy }, Try: r.try, Ledger: r.ledgerState, Verify: r.verify, Holds: r.holds, Files: &archive.Files{Reader: r.journal, Opener: r.opener, Objects: r.objects},
		Board: r.board, Book: r.book, Acts: r.acts, Apps: apps, Clock: c, Log: slog.New(slog.DiscardHandler), Version: "test"}))
	r.server = httptest.NewTLSServer(r.web.Handler())
	r.t.Cleanup(r.server.Close)
	r.t.Cleanup(r.web.Stop)
}

func (r *rig) try(ctx context.Context, e *event.Event) error {
	found := r.runner.Run(ctx, &inspect.Item{Text: e.Text})
	e.Hits, e.NotChecked = found.Hits, found.NotInspected
	return nil
}

func (r *rig) ledgerState(ctx context.Context) (console.LedgerState, error) {
	note, size, err := r.ledger.Checkpoint(ctx)
	state := console.LedgerState{Origin: r.ledger.Origin(), Size: size, Checkpoint: string(note), Time: r.ledger.SignedAt(note)}
	var open time.Duration
	state.Open, open, state.Outside = r.ledger.Window(ctx)
	state.OpenFor = int64(open / time.Second)
	return state, err
}

func (r *rig) verify(ctx context.Context) (console.VerifyResult, error) {
	for streams := must[map[string]uint64](r.t)(r.journal.Streams()); r.ledger.Size() < streams[journal.Local]; {
		select {
		case <-ctx.Done():
			return console.VerifyResult{}, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	v, err := verify.Verify(ctx, r.dir, verify.Options{})
	out := console.VerifyResult{Broken: v.Verdict == verify.Broken, Words: v.Words, Records: int(v.Records)}
	for _, f := range v.Findings {
		out.Findings = append(out.Findings, f.String())
	}
	return out, err
}

// record makes events records, and waits until pages show them. Texts are inspected and judged as a gateway would.
func (r *rig) record(events ...*event.Event) {
	r.t.Helper()
	for _, e := range events {
		if e.Received.IsZero() {
			e.Received = e.Time
		}
		if e.Text != "" {
			r.try(r.t.Context(), e)
		}
		if e.Kind != event.Act && e.Verdict.Action == "" {
			e.Verdict = r.rules.Policy.Decide(&policy.Input{Event: e, Now: e.Received, Final: true, LeavesOrg: r.rules.Policy.LeavesOrg(e)})
		}
		if err := r.recorder.Record(r.t.Context(), e); err != nil {
			r.t.Fatal(err)
		}
	}
	r.sync()
}

func (r *rig) sync() {
	r.t.Helper()
	if err := r.projector.Sync(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// actsSince returns the acts recorded after the first n frames of the journal, in order.
func (r *rig) actsSince(n uint64) []*event.Event {
	r.t.Helper()
	var out []*event.Event
	for f, err := range r.journal.Frames(r.t.Context(), journal.Local, n+1) {
		if err != nil {
			r.t.Fatal(err)
		}
		for _, rec := range f.Records {
			h := must[*event.Header](r.t)(header(rec.Header))
			if h.Kind != event.Act {
				continue
			}
			content := must[[]byte](r.t)(r.opener.Open(rec.Sealed, []byte(h.ID)))
			out = append(out, must[*event.Event](r.t)(event.Assemble(*h, content)))
		}
	}
	return out
}

func header(raw []byte) (*event.Header, error) {
	h, err := event.ParseHeader(raw)
	return &h, err
}

// frames returns how many frames the journal has.
func (r *rig) frames() uint64 {
	return must[map[string]uint64](r.t)(r.journal.Streams())[journal.Local]
}

// visitor is a browser without a screen: it keeps cookies and does not follow redirects.
type visitor struct {
	r      *rig
	client *http.Client
}

func (r *rig) visitor() *visitor {
	r.t.Helper()
	jar := must[*cookiejar.Jar](r.t)(cookiejar.New(nil))
	transport := r.server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &visitor{r, &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// text is what a person reads of it.
func (a answer) text() string {
	_, main, _ := strings.Cut(a.body, "<main")
	return strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString("<main"+main, " ")), " ")
}

func (v *visitor) do(req *http.Request) answer {
	v.r.t.Helper()
	resp, err := v.client.Do(req)
	if err != nil {
		v.r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.r.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func (v *visitor) get(path string) answer {
	v.r.t.Helper()
	return v.do(must[*http.Request](v.r.t)(http.NewRequest(http.MethodGet, v.r.server.URL+path, nil)))
}

// post sends a form, given as name, value pairs.
func (v *visitor) post(path string, pairs ...string) answer {
	v.r.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	req := must[*http.Request](v.r.t)(http.NewRequest(http.MethodPost, v.r.server.URL+path, strings.NewReader(form.Encode())))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return v.do(req)
}

// as returns a visitor who is signed in by a one-time link.
func (r *rig) as(name string) *visitor {
	r.t.Helper()
	v := r.visitor()
	if a := v.post("/link/" + must[string](r.t)(r.book.NewLink(name))); a.status != http.StatusSeeOther {
		r.t.Fatalf("the link of %s gave %d: %s", name, a.status, a.body)
	}
	return v
}

// reading returns a visitor who is signed in and gave a purpose.
func (r *rig) reading(name string) *visitor {
	r.t.Helper()
	v := r.as(name)
	if a := v.post("/purpose", "purpose", "Supervision review", "note", "case 7", "back", "/"); a.status != http.StatusSeeOther {
		r.t.Fatalf("the purpose gave %d: %s", a.status, a.body)
	}
	return v
}

// eventOf returns an event with what the archive leaves out, as the journal has it.
func (r *rig) eventOf(id event.ID) (*event.Event, error) {
	for f, err := range r.journal.Frames(r.t.Context(), journal.Local, 1) {
		if err != nil {
			return nil, err
		}
		for _, rec := range f.Records {
			if h := must[*event.Header](r.t)(header(rec.Header)); h.ID == id {
				return event.Assemble(*h, must[[]byte](r.t)(r.opener.Open(rec.Sealed, []byte(h.ID))))
			}
		}
	}
	return nil, archive.ErrNotFound
}

// erase destroys the content of a record, as retention does: an act that says so, then the key.
func (r *rig) erase(id event.ID) {
	r.t.Helper()
	act := &event.Event{ID: event.NewID(), Kind: event.Act, Phase: archive.ActErase, Time: r.now(), Received: r.now(), From: event.Party{Handle: "rita"}, Refers: id,
		Content: event.Content{Act: &event.ActDetail{Action: archive.ActErase, Object: string(id), Purpose: "a request", Details: []event.Fact{{Name: archive.DetailRecord, Value: string(id)}}}}}
	if err := r.recorder.Record(r.t.Context(), act); err != nil {
		r.t.Fatal(err)
	}
	r.sync()
}
