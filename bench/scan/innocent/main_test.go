package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
)

const stanzas = `Package: libc6
Version: 2
Filename: pool/libc6.deb
Source: glibc (2.36)
Size: 500

Package: a
Version: 1
Filename: pool/a.deb
Size: 300
Depends: libc6 (>= 2), b | c, libc6:any

Package: a
Version: 0
Filename: pool/a0.deb
Size: 3000

Package: b
Version: 1
Filename: pool/b.deb
Source: a
Size: 200
Depends: libc6

Package: here-only
Version: 1
Depends: libc6
`

func TestIndex(t *testing.T) {
	all, err := index(strings.NewReader(stanzas))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 || all["a"].version != "1" || all["a"].size != 300 || all["libc6"].source != "glibc" || all["libc6"].dependents != 2 || all["b"].dependents != 1 {
		t.Errorf("%+v", all)
	}
	if got := slices.Collect(depended(all, 5)); !slices.Equal(got, []string{"libc6", "b"}) {
		t.Errorf("depended upon: %q", got)
	}
	if got := slices.Collect(depended(all, 1)); !slices.Equal(got, []string{"libc6"}) {
		t.Errorf("one: %q", got)
	}
	if got := slices.Collect(largest(all, 5, 1000)); !slices.Equal(got, []string{"a"}) { // b is of the same source
		t.Errorf("largest: %q", got)
	}
	if got := slices.Collect(largest(all, 5, 250)); !slices.Equal(got, []string{"b"}) {
		t.Errorf("largest of the small: %q", got)
	}
	if got := sources(all, []string{"b", "unknown"}); len(got) != 1 || !got["a"] {
		t.Errorf("sources: %v", got)
	}
}

func TestRead(t *testing.T) {
	got, err := read(strings.NewReader(`{"type":"finding","path":"/d/x","inside":"y","app":"irc","confidence":0.8,"evidence":[{"fact":"token:z"}]}
{"type":"error","path":"/d/q","reason":"bomb","detail":"why"}
{"type":"summary","files":3,"bytes":9}`))
	if err != nil || got.files != 3 || got.bytes != 9 || len(got.findings) != 1 || !slices.Equal(got.problems, []string{"/d/q!/: bomb: why"}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if s := got.findings[0].String(); s != "/d/x!/y is taken for irc (0.80): token:z" {
		t.Errorf("%q", s)
	}
	if _, err := read(strings.NewReader("no json")); err == nil {
		t.Error("words were read")
	}
}

func TestNames(t *testing.T) {
	for path, want := range map[string]string{"/d/debs/vlc-bin_3.0_amd64.deb": "vlc-bin", "/d/trees/vlc-bin/usr/bin/vlc": "vlc-bin"} {
		if got := owner("/d", path); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	if got := names(c); !slices.Contains(got, "telegram-desktop") || !slices.IsSorted(got) {
		t.Errorf("%q", got)
	}
	if got := lines(programs); !slices.Contains(got, "chromium") || len(got) < 30 {
		t.Errorf("%q", got)
	}
}

// TestSystem tells a finding in somebody else's file from one in nobody's.
func TestSystem(t *testing.T) {
	program := filepath.Join(t.TempDir(), "chaperone")
	script := "#!/bin/sh\necho '{\"type\":\"finding\",\"path\":\"/nobody/has/it\",\"app\":\"irc\"}'\necho '{\"type\":\"error\",\"path\":\"/x\",\"reason\":\"bomb\"}'\nexit 1\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	r := runner{out: &out, chaperone: program, messengers: map[string]bool{"irssi": true}}
	wrong, err := r.system(context.Background(), "/x")
	if err != nil || wrong != 1 || !strings.Contains(out.String(), "FALSE: /nobody/has/it") || !strings.Contains(out.String(), "problem: /x!/: bomb") {
		t.Errorf("%d, %v: %s", wrong, err, out.String())
	}
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexit 2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := r.system(context.Background(), "/x"); err == nil {
		t.Error("a scan that failed was counted")
	}
}
