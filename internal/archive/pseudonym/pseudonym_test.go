package pseudonym_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/event"
)

// firm is a roll of a few people.
func firm() *pseudonym.Roll {
	r := pseudonym.New([]byte("key of the tests"))
	r.Handle("alice@example.org", "Alice Meyer", "p-17")
	r.Handle("alice_chat", "Alice Meyer", "p-17")
	r.Handle("jörg@example.org", "Jörg Müller", "joerg")
	r.Handle("will@example.org", "Will Hope", "w.hope")
	r.Handle("meyer@example.org", "Bob Meyer", "bob")
	r.Handle("desk@example.org", "", "p-17") // of two, one after the other
	r.Handle("desk@example.org", "", "bob")
	r.Handle("mallory@evil.test", "the", "")
	r.Handle("@matrix:evil.test", "", "")
	r.Handle("yamada@example.org", "山田太郎", "yamada")
	r.Host("laptop-17.example.org", "10.9.8.7", "p-17")
	r.Host("", "2001:db8::7", "")
	return r
}

func nobody(pseudonym.Identity) bool { return false }

// TestHide says which names are found in texts, and which are not.
func TestHide(t *testing.T) {
	r := firm()
	alice, host := r.Of(pseudonym.OfPerson("p-17"), ""), r.Of(pseudonym.OfHost("laptop-17.example.org"), "")
	jörg, will := r.Of(pseudonym.OfPerson("joerg"), ""), r.Of(pseudonym.OfPerson("w.hope"), "")
	address := r.Of(pseudonym.OfAddress("10.9.8.7"), "")
	for text, want := range map[string]string{
		"":                                   "",
		"nobody is named":                    "nobody is named",
		"ask alice@example.org, please":      "ask " + alice + ", please",
		"ALICE@EXAMPLE.ORG":                  alice,
		"<alice@example.org/phone>":          "<" + alice + "/phone>",
		"Alice Meyer's list":                 alice + "'s list",
		"alice  \n meyer":                    alice,
		"Alice\u00a0Meyer":                   alice,
		"P-17 and p-170":                     alice + " and p-170",
		"ask alice":                          "ask " + alice, // what stands before the @ is hers alone
		"malice aforethought":                "malice aforethought",
		"alice_chat_2.zip":                   alice + "_2.zip",
		"Meyer said so":                      r.Of(pseudonym.OfPerson("bob"), "") + " said so", // before the @ of bob's handle
		"Jörg Müller":                        jörg,
		"Jo\u0308rg Mu\u0308ller!":           jörg + "!",
		"jorg muller":                        jörg,
		"Ｊörg\u200b Müller":                  jörg,
		"Müller called":                      jörg + " called",
		"I hope that it will do":             "I hope that it " + will + " do", // the handle will@ is his alone
		"Hope called":                        will + " called",
		"the end":                            "the end", // of a stranger who calls himself "the"
		"mallory@evil.test wrote":            r.Of(r.OfHandle("mallory@evil.test"), "") + " wrote",
		"@matrix:evil.test":                  "@" + r.Of(pseudonym.OfOneHandle("@matrix:evil.test"), ""),
		"desk@example.org":                   r.Of(pseudonym.OfOneHandle("desk@example.org"), ""),
		"at the desk":                        "at the desk",
		"ssh laptop-17":                      "ssh " + host,
		"LAPTOP-17.example.org:22":           host + ":22",
		"from 10.9.8.7:443":                  "from " + address + ":443",
		"110.9.8.7 and 10.9.8.71":            "110.9.8.7 and 10.9.8.71",
		"http://[2001:db8::7]/":              "http://[" + r.Of(pseudonym.OfAddress("2001:db8::7"), "") + "]/",
		"田中と山田太郎です":                          "田中と" + r.Of(pseudonym.OfPerson("yamada"), "") + "です",
		`C:\Users\Alice_Chat\x.exe`:          `C:\Users\` + alice + `\x.exe`,
		"file:///home/p-17/notes.txt":        "file:///home/" + alice + "/notes.txt",
		"https://example.net/users/x/home/y": "https://example.net/users/x/home/y",
		"/Users/Shared/x":                    "/Users/Shared/x",
		"/home/":                             "/home/",
	} {
		if got := r.Hide(text, nobody, nil); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := r.Hide("rm -r /home/unknown now", nobody, nil); strings.Contains(got, "unknown") || !strings.HasPrefix(got, "rm -r /home/user-") || !strings.HasSuffix(got, " now") {
		t.Errorf("an unknown home became %q", got)
	}
	user := strings.TrimPrefix(r.Hide("/home/unknown", nobody, nil), "/home/")
	for text, want := range map[string]string{
		"/user/%2Fhome%2Funknown":                     "/user/%2Fhome%2F" + user,
		"%252Fhome%252Funknown%252Fx":                 "%252Fhome%252F" + user + "%252Fx",
		"/ｈｏｍｅ/unknown/x":                             "/ｈｏｍｅ/" + user + "/x",
		"/home/unknown\nnext/line":                    "/home/" + user + "\nnext/line",
		"https://x.test/?q=/home/unknown/y":           "https://x.test/?q=/home/" + user + "/y",
		"https://x.test/p/%2Fhome%2Funknown":          "https://x.test/p/%2Fhome%2F" + user,
		"https%3A%2F%2Fx.test%2Fusers%2Fy%2Fhome%2Fz": "https%3A%2F%2Fx.test%2Fusers%2Fy%2Fhome%2Fz",
		"https://x.test/home/news":                    "https://x.test/home/news",
		`https://x.test/ C:\Users\unknown`:            `https://x.test/ C:\Users\` + user,
	} {
		if got := r.Hide(text, nobody, nil); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := r.Hide("the end", nobody, []string{pseudonym.Own("the")}); !strings.HasPrefix(got, "handle-") {
		t.Errorf("a name of somebody who takes part became %q", got)
	}
	shown := func(i pseudonym.Identity) bool { return i == pseudonym.OfPerson("p-17") }
	if got := r.Hide("Alice Meyer asks Jörg Müller", shown, nil); got != "Alice Meyer asks "+jörg {
		t.Errorf("with one shown: %q", got)
	}
}

// TestHideWritten: names as they stand in addresses of the web, in names of files and in haste.
func TestHideWritten(t *testing.T) {
	r := firm()
	r.Handle("aarcher@example.org", "Alice Archer", "aarcher")
	r.Handle("zoe@example.org", "Zoë Kravitz", "zoe")
	r.Handle("bob.baker@example.org", "Bob Baker", "bbaker")
	r.Handle("jl@example.org", "Jean-Luc Picard", "jl")
	r.Handle("lm@example.org", "Ludwig van der Mehr", "lm")
	r.Host("", "10.0.0.7", "")
	of := func(id string) string { return r.Of(pseudonym.OfPerson(id), id) }
	archer, zoe, baker, picard := of("aarcher"), of("zoe"), of("bbaker"), of("jl")
	seven, six := r.Of(pseudonym.OfAddress("10.0.0.7"), ""), r.Of(pseudonym.OfAddress("2001:db8::7"), "")
	for text, want := range map[string]string{
		"https://x.test/Alice%20Archer%20CV.txt": "https://x.test/" + archer + "%20CV.txt",
		"https://x.test/q=Alice+Archer&n=100%25": "https://x.test/q=" + archer + "&n=100%25",
		"https://x.test/%41lice%2520Archer":      "https://x.test/" + archer,
		"https://x.test/%E2%82%AC%zz%4":          "https://x.test/%E2%82%AC%zz%4",
		"Zo%C3%AB":                               zoe,
		"Zo%C3%AB%20Kravitz%E2%80%A6":            zoe + "%E2%80%A6",
		"/home/bob%20baker":                      "/home/" + baker,
		"/home/bob%20baker/x.txt":                "/home/" + baker + "/x.txt",
		"Alice_Archer-CV.pdf":                    archer + "-CV.pdf",
		"alice-archer.pdf":                       archer + ".pdf",
		"alice.archer":                           archer,
		"bob baker":                              baker,
		"bob_baker":                              baker,
		"Jean_Luc_Picard":                        picard,
		"JeanLucPicard":                          picard,
		"ask archer about it":                    "ask " + archer + " about it",
		"the searcher":                           "the searcher",
		"a baker":                                "a baker", // a word of every day
		"AliceArcher.pdf":                        archer + ".pdf",
		"alicearcher.pdf":                        archer + ".pdf",
		"MrArcher":                               "Mr" + archer,
		"CVAliceArcher2024.pdf":                  "CV" + archer + "2024.pdf",
		"the Archers":                            "the " + archer,
		"dearMrArcherPlease":                     "dearMr" + archer + "Please",
		"10.0.0.007:443":                         seven + ":443",
		"10.000.0.7.":                            seven + ".",
		"2001:0db8:0:0::0007":                    six,
		"10.0.0.0071 and 10.0.0":                 "10.0.0.0071 and 10.0.0",
		"van der Waals":                          "van der Waals",
		"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b",
	} {
		if got := r.Hide(text, nobody, nil); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := r.NamedWithin("archer"); len(got) != 0 {
		t.Errorf("one word names %v", got)
	}
}

// TestOnePersonHasOnePseudonym over all handles, planes and restarts, and two installations have two.
func TestOnePersonHasOnePseudonym(t *testing.T) {
	a, b := firm(), firm()
	for _, handle := range []string{"alice@example.org", "alice_chat", "ALICE@example.org"} {
		if got := a.OfHandle(handle); got != pseudonym.OfPerson("p-17") {
			t.Errorf("%s is %v", handle, got)
		}
	}
	who := pseudonym.OfPerson("p-17")
	if a.Of(who, "") != b.Of(who, "") {
		t.Error("a restart gave another pseudonym")
	}
	if other := pseudonym.New([]byte("another key")); other.Of(who, "p-17") == a.Of(who, "") {
		t.Error("two keys give one pseudonym")
	}
	if got := a.OfParty(event.Party{Handle: "desk@example.org", Person: "bob"}); got != pseudonym.OfPerson("bob") {
		t.Errorf("a handle that had two people is %v when it was Bob's", got)
	}
}

func TestResolve(t *testing.T) {
	r := firm()
	p := r.Of(pseudonym.OfPerson("p-17"), "")
	for _, typed := range []string{p, strings.ToLower(p), " " + strings.ReplaceAll(p, "-", "")[:6] + p[6:], strings.ReplaceAll(strings.ReplaceAll(p, "0", "O"), "1", "l")} {
		if strings.HasPrefix(typed, " person") && !strings.Contains(typed, "-") {
			continue
		}
		if who, ok := r.Resolve(typed); typed == p && (!ok || who != pseudonym.OfPerson("p-17")) {
			t.Errorf("%q is %v, %t", typed, who, ok)
		}
	}
	if who, ok := r.Resolve(strings.ToLower(p)); !ok || who != pseudonym.OfPerson("p-17") {
		t.Errorf("small letters: %v, %t", who, ok)
	}
	for _, typed := range []string{"", "person-", "person", "person-0000-0000", "people-0000-0000", p + "-0", "person-ÄÄÄÄ-0000"} {
		if who, ok := r.Resolve(typed); ok {
			t.Errorf("%q is %v", typed, who)
		}
	}
	if names := r.Names(pseudonym.OfPerson("p-17")); names[0] != "p-17" || len(names) != 5 {
		t.Errorf("names %q", names)
	}
	if !pseudonym.Is(p) || pseudonym.Is("alice") || pseudonym.Is("person-x") {
		t.Error("Is")
	}
}

func TestNamed(t *testing.T) {
	r := firm()
	for name, want := range map[string]int{"p-17": 1, "Alice Meyer": 1, "alice_meyer": 1, "alice@example.org": 1, "alice": 1, "laptop-17": 1, "10.9.8.7": 1,
		"hope": 0, "Müller": 0, "nobody": 0, "": 0, "ali": 0} {
		if got := r.Named(name); len(got) != want {
			t.Errorf("%q names %v, want %d", name, got, want)
		}
	}
}

// TestThoseThatMeetGrow: two identities never share a pseudonym, whichever came first.
func TestThoseThatMeetGrow(t *testing.T) {
	names := make([]string, 200)
	for i := range names {
		names[i] = fmt.Sprintf("somebody%d", i)
	}
	up, down := pseudonym.New([]byte("k")).Shorten(2), pseudonym.New([]byte("k")).Shorten(2)
	for i := range names {
		up.Person(names[i], "")
		down.Person(names[len(names)-1-i], "")
	}
	seen := map[string]bool{}
	for _, n := range names {
		p := up.Of(pseudonym.OfPerson(n), n)
		if seen[p] || p != down.Of(pseudonym.OfPerson(n), n) {
			t.Errorf("%s is %s, and in the other order %s", n, p, down.Of(pseudonym.OfPerson(n), n))
		}
		seen[p] = true
		if who, ok := up.Resolve(p); !ok || who != pseudonym.OfPerson(n) {
			t.Errorf("%s resolves to %v", p, who)
		}
	}
}

// FuzzHide: whatever is written, the names that are known do not come through, and nothing but they changes.
func FuzzHide(f *testing.F) {
	for _, s := range []string{"alice@example.org", "Alice\u200b Meyer", "/home/x/home/y", "\xff alice@example.org \xfe", "a\u0308lice@example.org", "ﷺ p-17 İ", `\\Users\\p-17`, "Alice%20Meyer", "MrMeyer%C3", "%41%zzİAliceMeyer", "10.009.8.07:1", "Аlice Meyer", "A l i c e", "4l1ce M-e-y-e-r", "0x0a090807 \u202ereyeM\u202c", "7.8.9.10.in-addr.arpa"} {
		f.Add(s)
	}
	r := firm()
	f.Fuzz(func(t *testing.T, s string) {
		out := r.Hide(s, nobody, nil)
		if utf8.ValidString(s) && !utf8.ValidString(out) {
			t.Errorf("%q became invalid: %q", s, out)
		}
		if again := r.Hide(out, nobody, nil); strings.Contains(strings.ToLower(again), " alice@example.org ") {
			t.Errorf("%q became %q", s, out)
		}
		if got := r.Hide("x "+s+" alice@example.org ", nobody, nil); strings.HasSuffix(got, "alice@example.org ") {
			t.Errorf("after %q a name came through: %q", s, got)
		}
	})
}

// BenchmarkHide is one message among 10,000 people.
func BenchmarkHide(b *testing.B) {
	r := pseudonym.New([]byte("k"))
	for i := range 10_000 {
		r.Handle(fmt.Sprintf("first%d.last%d@example.org", i, i), fmt.Sprintf("First%d Last%d", i, i), fmt.Sprintf("p%05d", i))
		r.Host(fmt.Sprintf("laptop-%d", i), fmt.Sprintf("10.%d.%d.%d", i/65536, i/256%256, i%256), "")
	}
	text := strings.Repeat("please call first77.last77@example.org about the numbers of yesterday, before ten. ", 4)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		r.Hide(text, nobody, nil)
	}
}
