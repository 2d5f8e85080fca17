package main

import (
	"context"
	"errors"
	"os"
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
	apart := dir + "/apart" // keys elsewhere: the configuration says where
	if err := errors.Join(os.MkdirAll(apart, 0o700), os.CopyFS(apart+"/data/journal", os.DirFS(dir+"/journal")), os.CopyFS(apart+"/data/ledger", os.DirFS(dir+"/ledger")), os.CopyFS(apart+"/secrets", os.DirFS(dir+"/keys")),
		os.WriteFile(apart+"/chaperone.yaml", []byte("policy: policy.yaml\nkeys: {dir: ./secrets}\n"), 0o600)); err != nil {
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
		{[]string{"verify"}, 2, "hint: give the data directory, or --config FILE"},
		{[]string{"verify", "--config", apart + "/none.yaml"}, 2, "none.yaml"},
		{[]string{"verify", apart + "/data"}, 1, "say where keys are kept (--config"},
		{[]string{"verify", "--config", apart + "/chaperone.yaml"}, 0, "CONSISTENT, NOT PROVEN"},
		{[]string{"verify", "--config", apart + "/chaperone.yaml", apart + "/data"}, 0, "CONSISTENT, NOT PROVEN"},
		{[]string{"verify", "--checkpoint", dir, dir}, 2, "holds no checkpoint"},
	} {
		var out, errOut strings.Builder
		e := &command.Env{Ctx: context.Background(), In: strings.NewReader(""), Out: &out, ErrOut: &errOut}
		if got := run(c.args, e); got != c.code || !strings.Contains(out.String()+errOut.String(), c.says) {
			t.Errorf("%v: exit %d\n%s%s", c.args, got, &out, &errOut)
		}
	}
}
