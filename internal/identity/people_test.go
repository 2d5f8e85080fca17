package identity

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const table = `person,name,handle,host,address,from,to,groups
# who is who
alice,Alice A.,alice@example.org,alice-laptop,10.0.0.7,,,traders; equity
alice,,desk@example.org,,,2026-01-01,2026-02-01,
bob,Bob B.,desk@example.org,,10.0.0.0/24,2026-02-01,2026-03-01T12:00:00Z,research
bob,,office:bb,,2001:db8::/32,,,
`

func day(s string) time.Time {
	t, _ := moment(s)
	return t
}

func TestPeople(t *testing.T) {
	p, err := ParsePeople(strings.NewReader(table))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ connector, handle, at, want string }{
		{"office", "alice@example.org", "2026-01-15", "alice"},
		{"office", "ALICE@example.org", "2020-01-15", "alice"},
		{"office", "desk@example.org", "2025-12-31", ""},
		{"office", "desk@example.org", "2026-01-01", "alice"},
		{"office", "desk@example.org", "2026-02-01", "bob"},
		{"office", "desk@example.org", "2026-03-01T11:59:59Z", "bob"},
		{"office", "desk@example.org", "2026-03-01T12:00:00Z", ""},
		{"office", "bb", "2026-01-01", "bob"},
		{"other", "bb", "2026-01-01", ""},
		{"office", "nobody", "2026-01-01", ""},
	} {
		if got := p.Party(tt.connector, tt.handle, day(tt.at)); got.Person != tt.want || got.Handle != tt.handle {
			t.Errorf("%s at %s: %+v, want %q", tt.handle, tt.at, got, tt.want)
		}
	}
	if got := p.Party("office", "alice@example.org", day("2026-01-01")); got.Name != "Alice A." || strings.Join(got.Groups, ",") != "traders,equity" {
		t.Errorf("alice is %+v", got)
	}
	for _, tt := range []struct{ name, address, at, person, host string }{
		{"alice-laptop", "", "2026-01-01", "alice", "alice-laptop"},
		{"", "10.0.0.7", "2026-02-10", "alice", "alice-laptop"},
		{"", "::ffff:10.0.0.9", "2026-02-10", "bob", ""},
		{"", "10.0.0.9", "2026-01-10", "", ""},
		{"", "2001:db8::5", "2026-01-10", "bob", ""},
		{"", "not an address", "2026-01-10", "", ""},
	} {
		if got := p.Host(tt.name, tt.address, day(tt.at)); got.Person != tt.person || got.Name != tt.host {
			t.Errorf("%s %s: %+v", tt.name, tt.address, got)
		}
	}
	if p.Len() != 2 {
		t.Errorf("%d people", p.Len())
	}
}

func TestTablesThatAreWrong(t *testing.T) {
	for _, tt := range []struct{ name, table, want string }{
		{"unknown column", "person,nick\n", `"nick"`},
		{"no person column", "handle\n", "no column person"},
		{"no person", "person,handle\n,a\n", "line 2"},
		{"bad day", "person,from\na,yesterday\n", "line 2: from"},
		{"turned round", "person,handle,from,to\na,h,2026-02-01,2026-01-01\n", "from is not before to"},
		{"two people", "person,handle\na,h\nb,h\n", "lines 2 and 3: handle h"},
		{"two people overlapping", "person,handle,from,to\na,h,2026-01-01,2026-03-01\nb,h,2026-02-01,\n", "lines 2 and 3"},
		{"bad address", "person,address\na,10.0.0.300\n", "line 2: address"},
		{"bad row", "person,handle\na\n", "wrong number of fields"},
	} {
		if _, err := ParsePeople(strings.NewReader(tt.table)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if p, err := ParsePeople(strings.NewReader("")); err != nil || p.Party("c", "h", time.Now()).Person != "" {
		t.Errorf("an empty table: %v", err)
	}
}

func FuzzPeople(f *testing.F) {
	f.Add(table)
	f.Add("person,handle\na,h\nb,h\n")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePeople(strings.NewReader(s))
		if err != nil {
			return
		}
		p.Party("c", "alice@example.org", time.Now())
		p.Host("alice-laptop", "10.0.0.7", time.Now())
	})
}

func TestLoadPeople(t *testing.T) {
	path := filepath.Join(t.TempDir(), "people.csv")
	if _, err := LoadPeople(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("\ufeffPerson, Handle\nalice, alice@example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := LoadPeople(path) // as spreadsheets write it: with a mark at the beginning, capitals and spaces
	if err != nil || p.Party("c", "alice@example.org", time.Now()).Person != "alice" {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(path, []byte("person,handle\na,h\nb,h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPeople(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "lines 2 and 3") {
		t.Errorf("a contradiction: %v", err)
	}
}

func TestOnePersonMayHoldAHandleTwice(t *testing.T) {
	p, err := ParsePeople(strings.NewReader("person,handle,from,to\na,h,2026-01-01,2026-03-01\na,h,2026-02-01,2026-04-01\nb,h,2026-04-01,\n"))
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{"2026-01-01": "a", "2026-03-15": "a", "2026-04-01": "b", "2025-01-01": ""} {
		if got := p.Party("c", "h", day(at)).Person; got != want {
			t.Errorf("at %s: %q, want %q", at, got, want)
		}
	}
}

func BenchmarkParty(b *testing.B) {
	p, err := ParsePeople(strings.NewReader(table))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		p.Party("office", "alice@example.org", now)
	}
}
