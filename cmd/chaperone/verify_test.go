package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/ledgertest"
)

func TestVerifyCommand(t *testing.T) {
	dir := t.TempDir()
	key, err := ledger.LoadOrCreateKey(dir+"/keys", "chaperone/test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := ledgertest.Frames(2, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledgertest.Build(dir, key, frames); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"verify", dir}, 0, "CONSISTENT, NOT PROVEN"},
		{[]string{"verify", "--json", dir}, 0, `"words":"CONSISTENT, NOT PROVEN"`},
		{[]string{"verify", t.TempDir()}, 2, "hint:"},
		{[]string{"verify", "--checkpoint", dir, dir}, 2, "holds no checkpoint"},
	} {
		var out, errOut strings.Builder
		e := &command.Env{Ctx: context.Background(), In: strings.NewReader(""), Out: &out, ErrOut: &errOut}
		if got := run(c.args, e); got != c.code || !strings.Contains(out.String()+errOut.String(), c.says) {
			t.Errorf("%v: exit %d\n%s%s", c.args, got, &out, &errOut)
		}
	}
}
