package program

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSniff(t *testing.T) {
	pe := "MZ" + strings.Repeat("\x00", 58) + "\x40\x00\x00\x00" + "PE\x00\x00xxxx"
	tar := strings.Repeat("a", 257) + "ustar\x0000"
	script := "'use strict'\n\tconst ZEROS = '0' // ça alors\r\n" + strings.Repeat("// as long as it takes", 20)
	texts := strings.Repeat("a", 148) + "0140762 " + strings.Repeat("b", 101) + "ustar 00" + strings.Repeat("c", 512-265)
	for _, c := range []struct {
		name, head string
		want       Format
	}{
		{"pe", pe, PE},
		{"text that begins with MZ", "MZ is not enough " + strings.Repeat("x", 100), PE}, // the parser tells
		{"dos program", strings.Replace(pe, "PE\x00\x00", "NE\x00\x00", 1), None},
		{"elf", "\x7fELF\x02\x01\x01\x00", ELF},
		{"appimage", "\x7fELF\x02\x01\x01\x00AI\x02\x00", AppImage},
		{"deb", "!<arch>\ndebian-binary   ", Deb},
		{"static library", "!<arch>\n/               ", AR},
		{"java class", "\xca\xfe\xba\xbe\x00\x00\x00\x34", None},
		{"universal binary", "\xca\xfe\xba\xbe\x00\x00\x00\x02", MachO},
		{"tar", tar, Tar},
		{"tar with a damaged header", tar + strings.Repeat("\x00", 300), Tar},
		{"tar with a header of text alone", texts, Tar},
		{"script that reads tar", script[:257] + "ustar\\x0000'\n" + strings.Repeat("// and so on\n", 40), None},
		{"start of such a script", script[:257] + "ustar\\x0000'\n", None},
		{"words that begin like bzip2", "BZh is a word", None},
		{"bzip2", "BZh91AY&SY", Bzip2},
		{"plist", `<?xml version="1.0"?><!DOCTYPE plist><plist version="1.0">`, Bundle},
		{"other xml", `<?xml version="1.0"?><svg>`, None},
		{"desktop", "# comment\n\n[Desktop Entry]\nName=x\n", Desktop},
		{"asar", "\x04\x00\x00\x00\x20\x00\x00\x00\x1c\x00\x00\x00\x18\x00\x00\x00{\"files\":{}}", ASAR},
		{"jpeg", "\xff\xd8\xff\xe0\x00\x10JFIF", None},
		{"cpio", "070701" + strings.Repeat("0", 104), CPIO},
		{"a number that begins like cpio", "070701 is my number, " + strings.Repeat("x", 100), None},
		{"macOS package", "xar!\x00\x1c\x00\x01", XAR},
		{"words that begin like xar", "xar! he said", None},
		{"lha", "\x24\x00-lh5-" + strings.Repeat("\x00", 20), LHA},
		{"words with an option", "a -lha is none, nor is this", None},
		{"empty", "", None},
	} {
		if got := Sniff([]byte(c.head)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestZipTail(t *testing.T) {
	if !ZipTail([]byte("xPK\x05\x06" + strings.Repeat("\x00", 18))) {
		t.Error("an end record was not seen")
	}
	if ZipTail([]byte("PK\x05\x06")) {
		t.Error("a short end record was taken")
	}
}

func TestText(t *testing.T) {
	if got := Text("  Tele\x00gram\x1b[31m\xff "); got != "Telegram[31m" {
		t.Errorf("got %q", got)
	}
	if got := Text(strings.Repeat("ü", 2000)); len(got) > maxText || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
}

func FuzzSniff(f *testing.F) {
	f.Add([]byte("MZ"))
	f.Add([]byte("# \n[Desktop Entry]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		Sniff(b)
		ZipTail(b)
		if s := Text(string(b)); !utf8.ValidString(s) {
			t.Errorf("Text gave %q", s)
		}
	})
}

// broken is a file that cannot be read beyond its head.
type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("input/output error") }

func TestSniffFar(t *testing.T) {
	zipEnd := "PK\x05\x06" + strings.Repeat("\x00", 18)
	image := strings.Repeat("\x00", 0x8001) + "CD001"
	for _, c := range []struct {
		name, data string
		want       Format
	}{
		{"nothing", "", None}, {"little", "x", None}, {"zip behind words", "words" + zipEnd, Zip}, {"zip with a comment", zipEnd + "words", None},
		{"disk image", image + strings.Repeat("\x00", 4096), ISO}, {"disk image that is cut", image, None},
		{"macOS disk image", "data" + "koly\x00\x00\x00\x04\x00\x00\x02\x00" + strings.Repeat("\x00", 500), DMG},
		{"words at that place", "data" + "koly" + strings.Repeat(" ", 508), None}, {"long words", strings.Repeat("words ", 20_000), None},
	} {
		if got, err := SniffFar(strings.NewReader(c.data), int64(len(c.data))); got != c.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
	if _, err := SniffFar(broken{}, 1<<20); err == nil {
		t.Error("a file that cannot be read was taken for one that says nothing")
	}
}

// TestUnopenedAreContainers has what is recognised but not taken apart reported by the one that opens containers.
func TestUnopenedAreContainers(t *testing.T) {
	for _, f := range []Format{XAR, DMG, ISO, WIM, LZ4, Lzip, Compress, LHA, ACE, InstallShield} {
		if !f.Container() || f.Program() || f.HasTokens() {
			t.Errorf("%s", f)
		}
	}
}
