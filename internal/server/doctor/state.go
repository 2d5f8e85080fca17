package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// stateFiles reads what lies in state/ beside the journal, as serve will, and changes nothing.
func stateFiles(ctx context.Context, x *exam) {
	before := len(x.out)
	accounts(x)
	names(ctx, x)
	if err := ledger.CheckMemory(x.c.Data()); err != nil {
		for _, one := range parts(err) {
			x.add(Fail, one.Error(), "serve does not start with it; no record is lost", "stop serve if it runs, and move the file away: it is made anew")
		}
	}
	verified(x)
	if len(x.out) == before {
		x.ok("the files beside the journal can be read")
	}
}

// parts are the errors that were joined.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func accounts(x *exam) {
	book, err := account.Open(x.c.Data(), clock.System{})
	switch {
	case err != nil:
		x.add(Fail, err.Error(), "serve does not start, and nobody can sign in", "restore state/accounts.json from the backup of the data directory; or move it away, and chaperone account create --role administrator NAME")
	case book.Missing() && recorded(x):
		x.add(Fail, "state/accounts.json is missing beside records", "nobody can sign in", "restore it from the backup of the data directory; or chaperone account create --role administrator NAME")
	}
}

func names(ctx context.Context, x *exam) {
	const why = "headers name people, rooms and hosts by ids that this file gives: lost, names get others, unseen"
	const do = "restore state/names.log and state/names.key, both of one time, from the backup of the data directory"
	n, err := file.CheckNames(x.c.Data())
	if err != nil {
		x.add(Fail, err.Error(), why, do+"; or move names.log away to let every name get a new id")
		return
	}
	if n > 0 || !recorded(x) {
		return
	}
	if named, err := keyring.HasNames(ctx, file.OpenReader(x.c.Data())); err == nil && named { // what cannot be read is the check record's
		x.add(Fail, "state/names.log is missing or empty beside records that name people, rooms or hosts", why, do)
	}
}

// verified looks at the note of the last self-verification.
func verified(x *exam) {
	raw, err := outside.ReadFile(filepath.Join(x.c.Data(), "state", "verified.json"), 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil && !json.Valid(raw) {
		err = errors.New("state/verified.json is damaged")
	}
	if err != nil {
		x.add(Warn, err.Error(), "serve does not know when it last verified the record, and does it a minute after its start", "nothing; if it happens again look at the disk (dmesg, smartctl)")
	}
}

// recorded reports whether there are records.
func recorded(x *exam) bool {
	segments, _ := filepath.Glob(filepath.Join(x.c.Data(), "journal", "*", "*.seg"))
	for _, s := range segments {
		if info, err := os.Stat(s); err == nil && info.Size() > 0 {
			return true
		}
	}
	return false
}

// secrets says which files of keys are missing beside records that were made with them. When serve starts it makes some anew, or does not
// start.
func secrets(_ context.Context, x *exam) {
	if !recorded(x) {
		x.ok("there are no records yet that need them")
		return
	}
	before := len(x.out)
	for _, s := range keyring.Missing(x.c) {
		x.add(Fail, s.Path+" is missing beside records", s.Means, s.Do)
	}
	if len(x.out) == before {
		x.ok("every file of the keys folder that records were made with is there")
	}
}
