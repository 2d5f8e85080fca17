package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestEvery goes on when something fails, as the package database in the middle of an installation, and says so once.
func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n := 0
		err := every(ctx, 10*time.Second, slog.New(slog.NewTextHandler(&said, nil)), "packages", func(context.Context) error {
			n++
			return [...]error{nil, errors.New("cut off"), errors.New("cut off"), nil, errors.New("cut off"), nil}[n-1]
		})
		if err != nil || n < 5 {
			t.Errorf("done %d times: %v", n, err)
		}
		if got := strings.Count(said.String(), "cut off"); got != 2 {
			t.Errorf("said %d times:\n%s", got, said.String())
		}
	})
}

// TestRenew loads the packages of this machine once as long as they stay the same.
func TestRenew(t *testing.T) {
	p, err := packages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, changed := p.packages.Load(), 0
	for range 2 {
		if err := p.renew(t.Context(), func() { changed++ }); err != nil {
			t.Fatal(err)
		}
	}
	if changed != 0 || p.packages.Load() != before {
		t.Errorf("loaded %d times again", changed)
	}
	p.last.Dpkg.Made--
	if err := p.renew(t.Context(), func() { changed++ }); err != nil || changed != 1 || p.packages.Load() == before {
		t.Errorf("loaded %d times after a change, %v", changed, err)
	}
}
