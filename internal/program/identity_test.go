package program

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestWhatFormatsAre: what runs, what holds other files, and where the words of the catalog count.
func TestWhatFormatsAre(t *testing.T) {
	const runs, holds, words = 1, 2, 4
	for f, want := range map[Format]int{
		PE: runs | words, MSI: runs | holds | words, OLE: holds, ELF: runs | words, AppImage: runs | holds | words, MachO: runs | words,
		Deb: runs | holds | words, RPM: runs | holds | words, Bundle: runs, Desktop: runs, ASAR: runs | holds | words, ISO: holds, Squashfs: runs | holds | words,
		Zip: holds, Tar: holds, Gzip: holds, Bzip2: holds, XZ: holds, Zstd: holds, SevenZip: holds, AR: holds, RAR: holds, Cabinet: holds, CPIO: holds,
		None: 0, "something else": 0,
	} {
		got := 0
		for bit, is := range map[int]bool{runs: f.Program(), holds: f.Container(), words: f.HasTokens()} {
			if is {
				got |= bit
			}
		}
		if got != want {
			t.Errorf("%q: %03b, want %03b", f, got, want)
		}
	}
}

// TestSignedAt: the first signature that was countersigned tells the time.
func TestSignedAt(t *testing.T) {
	early, late := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		times []time.Time
		want  time.Time
	}{{nil, time.Time{}}, {[]time.Time{{}}, time.Time{}}, {[]time.Time{{}, late, early}, late}, {[]time.Time{early, late}, early}} {
		var id Identity
		for _, at := range c.times {
			id.Signers = append(id.Signers, Signer{Subject: "CN=x", Time: at})
		}
		if got := id.SignedAt(); !got.Equal(c.want) {
			t.Errorf("%v: %v, want %v", c.times, got, c.want)
		}
	}
}

// TestSniffHostile: heads that are cut, that point beyond themselves, or that hide behind comments.
func TestSniffHostile(t *testing.T) {
	mz := func(at string) string { return "MZ" + strings.Repeat("\x00", 58) + at }
	for _, c := range []struct {
		name, head string
		want       Format
	}{
		{"two letters", "MZ", None}, {"a stub without a pointer", mz(""), None},
		{"a header at the end of all numbers", mz("\xff\xff\xff\xff"), PE}, {"a header that is cut", mz("\x3e\x00\x00\x00"), PE}, {"a header in the stub", mz("\x00\x00\x00\x00"), None},
		{"universal, cut", "\xca\xfe\xba\xbe\x00\x00", None}, {"universal without programs", "\xca\xfe\xba\xbe\x00\x00\x00\x00", None},
		{"universal with the most", "\xca\xfe\xba\xbe\x00\x00\x00\x27", MachO}, {"class of Java 1", "\xca\xfe\xba\xbe\x00\x03\x00\x2d", None},
		{"plist after a mark and spaces", "\xef\xbb\xbf \r\n\t<plist version=\"1.0\">", Bundle}, {"plist far behind", "<?xml?>" + strings.Repeat(" ", 2000) + "<plist>", None},
		{"comment without an end", "# [Desktop Entry]", None}, {"comments and spaces", "#a\n \n\t#b\r\n[Desktop Entry]", Desktop}, {"another section first", "[Other]\n[Desktop Entry]", None},
		{"many comments", strings.Repeat("#\n", 30_000) + "[Desktop Entry]", Desktop},
	} {
		if got := Sniff([]byte(c.head)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestTextIsHeld: what files say fits a line of a table, whatever they say.
func TestTextIsHeld(t *testing.T) {
	for in, want := range map[string]string{
		"": "", " \t\n": "", "a\nb": "ab", "a\u202eexe.b": "aexe.b", "\u200bZoom\ufeff": "Zoom", "\xff\xfe": "", "Télé ☎": "Télé ☎",
		strings.Repeat("\x00", 3000) + "after all": "", strings.Repeat("é", maxText): strings.Repeat("é", maxText/2), "a" + strings.Repeat("é", maxText): "a" + strings.Repeat("é", maxText/2-1),
	} {
		if got := Text(in); got != want || len(got) > maxText || !utf8.ValidString(got) {
			t.Errorf("%.20q: %.40q of %d bytes, want %.40q", in, got, len(got), want)
		}
	}
}
