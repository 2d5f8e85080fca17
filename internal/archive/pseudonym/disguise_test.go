package pseudonym_test

import (
	"os"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
)

// disguised is a roll of people and machines whose names are easy to dress up.
func disguised() *pseudonym.Roll {
	r := pseudonym.New([]byte("key of the tests"))
	r.Handle("alice@example.org", "Alice Quillfeather", "alice")
	r.Handle("bob.thornbury@example.org", "Bob Thornbury", "bob")
	r.Handle("soeren@example.org", "Søren Łukowicz", "soeren")
	r.Handle("pat@example.org", "Pat O’Neill", "pat")
	r.Handle("иван@example.org", "Иван Сомов", "ivan")
	r.Host("laptop-19.example.org", "10.0.0.9", "alice")
	r.Host("", "2001:db8::9", "")
	return r
}

// TestHideDisguised: names that are written so that programs do not find them and people do.
func TestHideDisguised(t *testing.T) {
	r := disguised()
	of := func(id string) string { return r.Of(pseudonym.OfPerson(id), id) }
	alice, bob, soeren, pat, ivan := of("alice"), of("bob"), of("soeren"), of("pat"), of("ivan")
	host, nine, six := r.Of(pseudonym.OfHost("laptop-19.example.org"), ""), r.Of(pseudonym.OfAddress("10.0.0.9"), ""), r.Of(pseudonym.OfAddress("2001:db8::9"), "")
	for text, want := range map[string]string{
		"ask Quіllfeather now":                  "ask " + alice + " now", // Cyrillic і
		"аlice@example.org":                     alice,                   // Cyrillic а
		"Αlice Quillfeather":                    alice,                   // Greek Α
		"𝐐𝐮𝐢𝐥𝐥𝐟𝐞𝐚𝐭𝐡𝐞𝐫":                          alice,
		"🅀🅄🄸🄻🄻🄵🄴🄰🅃🄷🄴🅁 said":                     alice + " said",
		"Q u i l l f e a t h e r":               alice,
		"by Q.u.i.l.l.f.e.a.t.h.e.r, yes":       "by " + alice + ", yes",
		"A l i c e  Q u i l l f e a t h e r":    alice,
		"A l i c e is late":                     alice + " is late",
		"B o b":                                 bob,
		"b_o_b_t_h_o_r_n_b_u_r_y":               bob,
		"Q u і l l f е a t h e r":               alice, // and Cyrillic
		"Qu1llfeather and Quillf34th3r":         alice + " and " + alice,
		"Quill-feather":                         alice,
		"my-Quill-feather-list.pdf":             "my-" + alice + "-list.pdf",
		"Quill\U000E0020\U000E0066feather":      alice, // a tag character shows nothing
		"\u202erehtaefllıuQ\u202c":              "\u202e" + alice + "\u202c",
		"Soren called":                          soeren + " called",
		"Lukowicz":                              soeren,
		"Søren":                                 soeren,
		"Pat O'Neill":                           pat,
		"Иван Сомов":                            ivan,
		"иван@example.org":                      ivan,
		"BobThornbury bobthornbury":             bob + " " + bob,
		"Laptop19 and LAPTOP 19 and laptop_19":  host + " and " + host + " and " + host,
		"ping 0x0a000009":                       "ping " + nine,
		"ping 0xA000009":                        "ping " + nine,
		"http://167772169/":                     "http://" + nine + "/",
		"http://012.0.0.011/":                   "http://" + nine + "/",
		"http://0x0a.0.0x0.9:80/":               "http://" + nine + ":80/",
		"10[.]0[.]0[.]9":                        nine,
		"10 dot 0 dot 0 dot 9":                  nine,
		"10(dot)0(dot)0(dot)9":                  nine,
		"9.0.0.10.in-addr.arpa":                 nine + ".in-addr.arpa",
		strings.Repeat("0.", 0) + nibbles + "x": nibbles + "x",
		nibbles + ".ip6.arpa":                   six + ".ip6.arpa",

		"quill and feather":             "quill and feather",
		"a b c d e f":                   "a b c d e f",
		"call 167772160 or 0x0a000008":  "call 167772160 or 0x0a000008",
		"on 10.0.0 at 9":                "on 10.0.0 at 9",
		"10.0.0.8.in-addr.arpa":         "10.0.0.8.in-addr.arpa",
		"1.2.3.4.5.6":                   "1.2.3.4.5.6",
		"0x":                            "0x",
		"it takes 3 laptops, 19 cables": "it takes 3 laptops, 19 cables",
		"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b",
	} {
		if got := r.Hide(text, nobody, nil); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

const nibbles = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"

// TestADisguiseIsNobody: a handle that looks like another's is not theirs, and whom a reader knows by name stays readable.
func TestADisguiseIsNobody(t *testing.T) {
	r := disguised()
	const stranger = "аlice@example.org" // Cyrillic а
	r.Handle(stranger, "", "")
	if got := r.OfHandle(stranger); got == pseudonym.OfPerson("alice") {
		t.Errorf("who looks like Alice is %v", got)
	}
	if got := r.Named("Quіllfeather"); len(got) != 0 {
		t.Errorf("a disguise names %v", got)
	}
	shown := func(i pseudonym.Identity) bool { return i == pseudonym.OfPerson("alice") }
	for _, text := range []string{"Quіllfeather", "Q u i l l f e a t h e r", "Alice Quіllfeather"} {
		if got := r.Hide(text, shown, nil); got != text {
			t.Errorf("%q became %q for who knows her", text, got)
		}
	}
}

// TestHostileTextsEnd: what is made to cost much costs its length and not the square of it, which would be minutes for each of the long ones.
func TestHostileTextsEnd(t *testing.T) {
	r, long := disguised(), 16<<10
	if os.Getenv("CHAPERONE_SOAK") == "1" {
		long = 512 << 10
	}
	for _, piece := range []string{"a b c ", "ab-", "а", "10.0.0.", "a\u0301\u0301", "%41\u202e", "A\u200b", "4l1c3 ", "9.", "A1"} {
		text := strings.Repeat(piece, long/len(piece))
		if got := r.Hide(text, nobody, nil); got != text {
			t.Errorf("%q, often, became %.80q", piece, got)
		}
	}
}

func BenchmarkHideDisguised(b *testing.B) {
	r := disguised()
	text := strings.Repeat("пожалуйста позвоните Quіllfeather до десяти, Q u i l l f e a t h e r. ", 4)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		r.Hide(text, nobody, nil)
	}
}
