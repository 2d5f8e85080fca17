package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// TestRecordCommitVerify takes the whole way: events recorded by the real journal under real seals, committed by the ledger, kept outside,
// one disposed of, verified; then tampered with by somebody who holds the signing key.
func TestRecordCommitVerify(t *testing.T) {
	dir, drop := t.TempDir(), t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	private, err := seal.GenerateCompliance()
	check(err)
	sealer, err := seal.NewSealer(filepath.Join(dir, "keys"), []*seal.PublicKey{private.Public()}, clock.System{})
	check(err)
	names, err := file.OpenNames(dir)
	check(err)
	j, _, err := file.Open(dir, file.Options{})
	check(err)
	recorder := journal.NewRecorder(j, sealer, names, clock.System{})

	key, err := ledger.LoadOrCreateKey(filepath.Join(dir, "keys"), "chaperone/test", time.Now)
	check(err)
	outside, err := ledger.ParseRecipient("file:" + drop)
	check(err)
	l, err := ledger.Open(context.Background(), dir, key, ledger.Options{Recipients: []ledger.Recipient{outside}, Now: time.Now})
	check(err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, j) }()

	var ids []event.ID
	for i := range 20 {
		e := &event.Event{ID: event.NewID(), Kind: event.Message, Time: time.Now(), Connector: "office",
			From: event.Party{Handle: "alice@example.org"}, Room: event.Room{Name: "desk@rooms.example.org"}, Content: event.Content{Text: fmt.Sprint("message ", i)}}
		check(recorder.Record(ctx, e))
		ids = append(ids, e.ID)
	}
	certificate := &event.Event{ID: event.NewID(), Kind: event.Act, Phase: "record.dispose", Refers: ids[2], Time: time.Now(), Content: event.Content{Act: &event.ActDetail{Action: "record.dispose"}}}
	check(recorder.Record(ctx, certificate))
	check(j.Detach(ctx, map[uint64][]int{3: {0}}))
	stop()
	check(<-done)
	check(l.Close(context.Background()))
	check(j.Close())

	says := func(code int, want string, args ...string) {
		t.Helper()
		var out, errOut strings.Builder
		got := run(append([]string{"verify"}, args...), &command.Env{Ctx: context.Background(), In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
		if got != code || !strings.Contains(out.String(), want) {
			t.Errorf("%v: exit %d, want %d and %q\n%s%s", args, got, code, want, &out, &errOut)
		}
	}
	says(0, "PROVEN since ", "--checkpoint", drop, dir)
	says(0, "1 disposed", "--checkpoint", drop, dir)
	says(0, "CONSISTENT, NOT PROVEN", dir)
	check(ledgertest.Tamper(dir, string(ids[7]), key))
	says(1, "record-removed: record "+string(ids[7])+", stream local, frame 8, position 1", "--checkpoint", drop, dir)
	says(0, "CONSISTENT, NOT PROVEN", dir)
}
