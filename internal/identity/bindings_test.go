package identity_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/identity"
)

func parse(t *testing.T, table string) *identity.People {
	t.Helper()
	p, err := identity.ParsePeople(strings.NewReader(table))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func moment(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestFormsOfTables: order of columns, letters, spaces, comments and marks of editors do not matter.
func TestFormsOfTables(t *testing.T) {
	for name, table := range map[string]string{
		"plain":               "person,handle\nalice,a@example.org\n",
		"other order":         "handle,person\na@example.org,alice\n",
		"capitals":            "PERSON,Handle\nalice,A@Example.ORG\n",
		"spaces":              "person, handle \n alice , a@example.org \n",
		"byte order mark":     "\ufeffperson,handle\nalice,a@example.org\n",
		"lines of Windows":    "person,handle\r\nalice,a@example.org\r\n",
		"quotes":              "\"person\",\"handle\"\n\"alice\",\"a@example.org\"\n",
		"comments":            "# our people\nperson,handle\n# traders\nalice,a@example.org\n",
		"no end of last line": "person,handle\nalice,a@example.org",
		"more rows of her":    "person,handle\nalice,a@example.org\nalice,a@example.org\nalice,other@example.org\n",
		"all columns":         "groups,to,from,address,host,handle,name,person\n,,,,,a@example.org,,alice\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := parse(t, table)
			if got := p.Party("office", "a@example.org", time.Now()); got.Person != "alice" || p.Len() != 1 {
				t.Errorf("%+v of %d people", got, p.Len())
			}
		})
	}
}

// TestNobody: an empty table, or one of a header only, knows nobody and is no error.
func TestNobody(t *testing.T) {
	for _, table := range []string{"", "person\n", "person,handle,host,address,from,to,groups,name\n", "# nothing\n"} {
		p := parse(t, table)
		if p.Len() != 0 {
			t.Errorf("%q: %d people", table, p.Len())
		}
		if got := p.Party("office", "Bob@Example.ORG", time.Now()); got.Person != "" || got.Handle != "Bob@Example.ORG" || len(got.Groups) > 0 {
			t.Errorf("%q: party %+v", table, got)
		}
		if got := p.Host("PC-1", "192.0.2.1", time.Now()); got.Person != "" || got.Name != "PC-1" || got.Address != "192.0.2.1" {
			t.Errorf("%q: host %+v", table, got)
		}
	}
}

// TestHandOver: a handle goes from one to the other at one moment, with nobody twice and nobody between.
func TestHandOver(t *testing.T) {
	p := parse(t, "person,handle,from,to\n"+
		"carol,desk,2026-03-01T00:00:00Z,\nalice,desk,,2026-01-01T12:00:00+02:00\nbob,desk,2026-01-01T10:00:00Z,2026-02-01\n")
	for at, want := range map[string]string{
		"1999-01-01T00:00:00Z": "alice", "2026-01-01T09:59:59Z": "alice", "2026-01-01T10:00:00Z": "bob", "2026-01-01T12:00:00+02:00": "bob",
		"2026-01-31T23:59:59Z": "bob", "2026-02-01T00:00:00Z": "", "2026-02-28T23:59:59Z": "", "2026-03-01T00:00:00Z": "carol", "2099-01-01T00:00:00Z": "carol",
	} {
		if got := p.Party("any", "DESK", moment(t, at)).Person; got != want {
			t.Errorf("at %s: %q, want %q", at, got, want)
		}
	}
}

// TestConnectors: a handle of one connector goes before the same handle of all.
func TestConnectors(t *testing.T) {
	p := parse(t, "person,handle\nalice,kim\nbob,office:kim\ncarol,Lab:Kim\n")
	for _, c := range []struct{ connector, handle, want string }{
		{"office", "kim", "bob"}, {"OFFICE", "KIM", "bob"}, {"lab", "kim", "carol"}, {"home", "kim", "alice"}, {"", "kim", "alice"}, {"home", "office:kim", "bob"},
	} {
		if got := p.Party(c.connector, c.handle, time.Now()).Person; got != c.want {
			t.Errorf("%s on %s: %q, want %q", c.handle, c.connector, got, c.want)
		}
	}
}

// TestAddresses: the narrowest range that holds an address at the moment says whose it is, whichever way it is written.
func TestAddresses(t *testing.T) {
	p := parse(t, "person,host,address,from,to\n"+
		"all,,10.0.0.0/8,,\nfloor,,10.1.0.0/16,,\ndesk,pc-desk,10.1.2.3,,\nguest,,10.1.2.4,2026-01-01,2026-02-01\n"+
		"six,,2001:db8::/32,,\nsixdesk,,2001:db8:0:1::7,,\nmapped,,::ffff:172.16.0.0/108,,\nlocal,,fe80::/10,,\nunmasked,,192.0.2.77/24,,\n")
	for _, c := range []struct{ address, at, want string }{
		{"10.9.9.9", "2026-01-15T00:00:00Z", "all"}, {"10.1.9.9", "2026-01-15T00:00:00Z", "floor"}, {"10.1.2.3", "2026-01-15T00:00:00Z", "desk"},
		{"10.1.2.4", "2026-01-15T00:00:00Z", "guest"}, {"10.1.2.4", "2026-02-15T00:00:00Z", "floor"}, {"11.0.0.1", "2026-01-15T00:00:00Z", ""},
		{"::ffff:10.1.2.3", "2026-01-15T00:00:00Z", "desk"}, {"2001:db8:ffff::1", "2026-01-15T00:00:00Z", "six"},
		{"2001:0DB8:0:1:0:0:0:7", "2026-01-15T00:00:00Z", "sixdesk"}, {"172.16.5.5", "2026-01-15T00:00:00Z", "mapped"},
		{"::ffff:172.31.255.255", "2026-01-15T00:00:00Z", "mapped"}, {"172.32.0.0", "2026-01-15T00:00:00Z", ""},
		{"fe80::1%eth0", "2026-01-15T00:00:00Z", "local"}, {"192.0.2.1", "2026-01-15T00:00:00Z", "unmasked"},
		{"", "2026-01-15T00:00:00Z", ""}, {"10.1.2.3:443", "2026-01-15T00:00:00Z", ""}, {"pc-desk", "2026-01-15T00:00:00Z", ""},
	} {
		got := p.Host("", c.address, moment(t, c.at))
		if got.Person != c.want || got.Address != c.address {
			t.Errorf("%s at %s: %+v, want %q", c.address, c.at, got, c.want)
		}
	}
	if got := p.Host("", "10.1.2.3", time.Now()); got.Name != "pc-desk" {
		t.Errorf("the host's name is %q", got.Name)
	}
	if got := p.Host("own-name", "10.1.2.3", time.Now()); got.Name != "own-name" || got.Person != "desk" {
		t.Errorf("a name of its own became %+v", got)
	}
}

// TestNamesGoBeforeAddresses: who a machine says it is outweighs where it stands; a name that nobody knows does not.
func TestNamesGoBeforeAddresses(t *testing.T) {
	p := parse(t, "person,host,address\nalice,laptop,\nbob,,10.0.0.0/24\n")
	for _, c := range []struct{ name, address, want string }{
		{"laptop", "10.0.0.5", "alice"}, {"LAPTOP", "", "alice"}, {"stranger", "10.0.0.5", "bob"}, {"stranger", "10.0.1.5", ""}, {"", "", ""},
	} {
		if got := p.Host(c.name, c.address, time.Now()).Person; got != c.want {
			t.Errorf("%q at %q: %q, want %q", c.name, c.address, got, c.want)
		}
	}
}

// TestGroupsAreGathered: of all rows of a person, each once, in the order of the table.
func TestGroupsAreGathered(t *testing.T) {
	p := parse(t, "person,name,handle,groups\nalice,,a1,traders; equity ;\nalice,Alice A.,a2,equity;;desk 7\nalice,,a3,\n")
	for _, handle := range []string{"a1", "a2", "a3"} {
		got := p.Party("office", handle, time.Now())
		if !slices.Equal(got.Groups, []string{"traders", "equity", "desk 7"}) || got.Name != "Alice A." {
			t.Errorf("%s: %+v", handle, got)
		}
	}
}

// TestContradictions: two people for one thing at one time are an error that names both rows; one after the other are none.
func TestContradictions(t *testing.T) {
	for _, c := range []struct {
		name, rows string
		want       string // "" is none
	}{
		{"one after the other", "a,h,,,,2026-01-01\nb,h,,,2026-01-01,", ""},
		{"one person twice", "a,h,,,,\na,h,,,2026-01-01,", ""},
		{"both for ever", "a,h,,,,\nb,h,,,,", "lines 2 and 3: handle h belongs to a and b"},
		{"letters", "a,Kim,,,,\nb,KIM,,,,", "handle kim"},
		{"a day too long", "a,h,,,,2026-01-02\nb,h,,,2026-01-01,", "lines 2 and 3"},
		{"within", "a,h,,,2026-01-01,2026-12-31\nb,h,,,2026-03-01,2026-04-01", "lines 2 and 3"},
		{"not those next to each other", "a,h,,,2026-01-01,2026-12-31\na,h,,,2026-02-01,2026-02-02\nb,h,,,2026-03-01,2026-04-01", "lines 2 and 4"},
		{"a host", "a,,pc,,,\nb,,PC,,,", "host pc belongs to"},
		{"an address", "a,,,10.0.0.1,,\nb,,,10.0.0.1,,", "address 10.0.0.1/32"},
		{"an address in two forms", "a,,,10.0.0.1,,\nb,,,::ffff:10.0.0.1,,", "address 10.0.0.1/32"},
		{"a range that is written in two ways", "a,,,10.0.0.0/24,,\nb,,,10.0.0.9/24,,", "address 10.0.0.0/24"},
		{"a range and one within", "a,,,10.0.0.0/24,,\nb,,,10.0.0.0/25,,", ""},
		{"no time between", "a,h,,,2026-01-01,2026-01-01", "from is not before to"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := identity.ParsePeople(strings.NewReader("person,handle,host,address,from,to\n" + c.rows + "\n"))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestLoadPeople(t *testing.T) {
	path := filepath.Join(t.TempDir(), "people.csv")
	if _, err := identity.LoadPeople(path); err == nil || !strings.HasPrefix(err.Error(), "people: ") {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.WriteFile(path, []byte("person,handle\nalice,a\n,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.LoadPeople(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "line 3: person is empty") {
		t.Errorf("a row of nobody: %v", err)
	}
	if err := os.WriteFile(path, []byte("person,handle\nalice,a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := identity.LoadPeople(path); err != nil || p.Len() != 1 {
		t.Errorf("a good table: %v", err)
	}
}

// TestManyPeople: of a company each is found, and nobody else.
func TestManyPeople(t *testing.T) {
	var b strings.Builder
	b.WriteString("person,handle,host,address\n")
	const many = 2000
	for i := range many {
		fmt.Fprintf(&b, "p%d,h%d@example.org,pc%d,10.0.%d.%d\n", i, i, i, i/250, i%250)
	}
	p := parse(t, b.String())
	if p.Len() != many {
		t.Fatalf("%d people", p.Len())
	}
	for i := 0; i < many; i += 97 {
		want := fmt.Sprintf("p%d", i)
		if got := p.Party("x", fmt.Sprintf("h%d@example.org", i), time.Now()).Person; got != want {
			t.Errorf("handle %d: %q", i, got)
		}
		if got := p.Host("", fmt.Sprintf("10.0.%d.%d", i/250, i%250), time.Now()); got.Person != want || got.Name != fmt.Sprintf("pc%d", i) {
			t.Errorf("address %d: %+v", i, got)
		}
	}
}

// TestGroupsOfAPerson: they are those that the table gives, for whoever asks by the person.
func TestGroupsOfAPerson(t *testing.T) {
	p := parse(t, "person,handle,groups\nalice,a1,traders; desk\nbob,b,\n")
	for person, want := range map[string][]string{"alice": {"traders", "desk"}, "bob": nil, "carol": nil, "": nil} {
		groups, known := p.Groups(person)
		if !slices.Equal(groups, want) || known != (person == "alice" || person == "bob") || !slices.Equal(identity.GroupsOf(p, person), want) {
			t.Errorf("%q: %q, known %v", person, groups, known)
		}
	}
	identity.GroupsOf(p, "alice")[0] = "changed"
	if got := identity.GroupsOf(p, "alice"); got[0] != "traders" {
		t.Error("the table itself was given away")
	}
	if got := identity.GroupsOf(nil, "alice"); got != nil {
		t.Errorf("no directory gives %q", got)
	}
}
