package account_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
)

// TestNames: what misleads in an act is no name; names of people in any script are.
func TestNames(t *testing.T) {
	b, err := account.Open(t.TempDir(), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	roles := []control.Role{control.Reviewer}
	for _, name := range []string{
		"", "root", "Root", "ROOT", "uid:0", "UID:1000", "ad\u202emin", "ad\u200bmin", "admin\u2060", "\u3164", "\u00a0", " ", " admin", "admin ", "ad  min", "ad\tmin", "ad\nmin",
		"a/b", "a\x00b", "\xff", "e\u0301va", "ａdmin", "\u0430dmin", "adm\u03bfn", "a<b>", "a\u034fb", strings.Repeat("x", 65),
	} {
		if err := b.Create(name, roles); !errors.Is(err, account.ErrName) {
			t.Errorf("%q: %v", name, err)
		}
		if err := b.CanCreate(name, roles); !errors.Is(err, account.ErrName) {
			t.Errorf("%q could be made: %v", name, err)
		}
	}
	for _, name := range []string{"admin", "alice@example.org", "Éva Nagy", "o'neill", "мария", "田中", "Δήμος", "rev-2_b.c+x", "rooter", "अनिल"} {
		if err := b.Create(name, roles); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"Admin", "ADMIN", "ALICE@example.org"} {
		if err := b.Create(name, roles); !errors.Is(err, account.ErrExists) {
			t.Errorf("%q beside another of that name: %v", name, err)
		}
	}
	if caller, ok := b.ByUser(0); !ok || caller.Account != account.System || !caller.Has(control.Administrator) {
		t.Errorf("the machine's root is %+v", caller)
	}
}
