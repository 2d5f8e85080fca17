package formats_test

import (
	"bytes"
	"io"
	"regexp"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
	"github.com/chaperone-im/chaperone/internal/policy/export/formats"
)

// TestConformance holds what each format must do: a name of its own, and a file even for a policy that stops nothing.
func TestConformance(t *testing.T) {
	nothing := exporttest.Plan(t, "version: 1\nrules: []\n", export.Options{})
	seen := map[string]bool{}
	for _, f := range formats.All() {
		if f.Name == "" || f.About == "" || seen[f.Name] {
			t.Errorf("%+v", f)
		}
		seen[f.Name] = true
		if got, ok := formats.ByName(f.Name); !ok || got.Name != f.Name {
			t.Errorf("%s is not found by its name", f.Name)
		}
		if _, err := f.Write(io.Discard, nothing); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	if _, ok := formats.ByName("none"); ok {
		t.Error("a format that is not there is found")
	}
}

// TestNothingIsLeftOutSilently holds each format to each part of a plan: it changes the file, or it is said that it does not.
func TestNothingIsLeftOutSilently(t *testing.T) {
	whole := exporttest.Plan(t, exporttest.Policy+"clients: {slack: {tenants: [T1], file_transfer: block}}\n", export.Options{})
	signal := whole.Apps[0]
	signal.Programs = catalog.Programs{}
	hash := func(format string) []export.Hash {
		return []export.Hash{{SHA256: exporttest.Denied, App: "signal", Format: format, Rule: "bad"}}
	}
	for what, part := range map[string]export.Plan{
		"messengers": {Apps: whole.Apps}, "a messenger of which nothing is known": {Apps: []export.App{signal}}, "a file": {Hashes: hash("")}, "a program of Linux": {Hashes: hash("elf")},
		"a program of Windows": {Hashes: hash("pe")}, "a program of macOS": {Hashes: hash("macho")}, "a file that is allowed": {Hashes: []export.Hash{{SHA256: exporttest.Allowed, Allow: true}}},
		"names": {Names: whole.Names}, "removable media": {Removable: whole.Removable}, "clients": {Clients: whole.Clients},
	} {
		for _, f := range formats.All() {
			empty, without := write(t, f, export.Plan{})
			got, left := write(t, f, part)
			if got == empty && len(left) <= len(without) {
				t.Errorf("%s: %s are neither in the file nor in the notes %q", f.Name, what, left)
			}
		}
	}
}

// write writes a plan, without what tells when it was made.
func write(t *testing.T, f export.Format, p export.Plan) (text string, left []string) {
	t.Helper()
	p.Policy, p.Made, p.ProfileURL = "0123456789abcdef", time.Date(2026, 11, 25, 12, 30, 0, 0, time.UTC), exporttest.ProfileURL
	var out bytes.Buffer
	left, err := f.Write(&out, &p)
	if err != nil {
		t.Fatal(err)
	}
	comments := regexp.MustCompile(`(?m)^#.*$`)
	return comments.ReplaceAllString(out.String(), ""), append(left, f.Elsewhere(&p)...)
}
