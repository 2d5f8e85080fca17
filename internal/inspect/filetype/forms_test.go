package filetype_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/filetype"
)

// lookedAt gives the type of a file, and its hits and reasons.
func lookedAt(name, body string) (media, found string) {
	r := look(name, int64(len(body)), strings.NewReader(body))
	var words []string
	for _, h := range r.Hits {
		words = append(words, h.Name)
	}
	for _, n := range r.NotInspected {
		words = append(words, n.Reason)
	}
	return r.Type, strings.Join(words, " ")
}

// TestSignatures: a form is told by its first bytes, whatever it is called, and says nothing when the name fits.
func TestSignatures(t *testing.T) {
	rest := strings.Repeat("\x00", 64)
	for _, test := range []struct{ name, body, media, found string }{
		{"a.gif", "GIF87a", "image/gif", ""},
		{"a.gif", "GIF89a", "image/gif", ""},
		{"a.webp", "RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp", ""},
		{"a.wav", "RIFF\x10\x00\x00\x00WAVEfmt ", "audio/wav", ""},
		{"a.avi", "RIFF\x10\x00\x00\x00AVI LIST", "video/x-msvideo", ""},
		{"a.bmp", "BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00", "image/bmp", ""},
		{"a.tiff", "II*\x00", "image/tiff", ""},
		{"a.tif", "MM\x00*", "image/tiff", ""},
		{"a.ico", "\x00\x00\x01\x00\x01\x00", "image/vnd.microsoft.icon", ""},
		{"a.heic", "\x00\x00\x00\x18ftypheic", "image/heic", ""},
		{"a.mov", "\x00\x00\x00\x14ftypqt  ", "video/quicktime", ""},
		{"a.m4a", "\x00\x00\x00\x20ftypM4A ", "audio/mp4", ""},
		{"a.mp4", "\x00\x00\x00\x20ftypisom", "video/mp4", ""},
		{"a.mp3", "ID3\x03\x00\x00", "audio/mpeg", ""},
		{"a.mp3", "ID3\x04\x00\x00", "audio/mpeg", ""},
		{"a.ogg", "OggS\x00", "audio/ogg", ""},
		{"a.flac", "fLaC\x00", "audio/flac", ""},
		{"a.webm", "\x1a\x45\xdf\xa3\x01", "video/webm", ""},
		{"a.rtf", "{\\rtf1}", "application/rtf", ""},
		{"a.gz", "\x1f\x8b\x08", "application/gzip", ""},
		{"a.xz", "\xfd7zXZ\x00", "application/x-xz", ""},
		{"a.zst", "\x28\xb5\x2f\xfd", "application/zstd", ""},
		{"a.tar", strings.Repeat("\x00", 257) + "ustar\x00", "application/x-tar", ""},
		{"a.cab", "MSCF\x00\x00\x00\x00", "application/vnd.ms-cab-compressed", ""},
		{"a.iso", strings.Repeat("\x00", 32769) + "CD001", "application/x-iso9660-image", ""},
		{"a.db", "SQLite format 3\x00", "application/vnd.sqlite3", ""},
		{"a.com", "MZ" + rest, "application/x-dosexec", "executable-file"},
		{"a", "\xcf\xfa\xed\xfe" + rest, "application/x-mach-binary", "executable-file"},
		{"a", "\xfe\xed\xfa\xce" + rest, "application/x-mach-binary", "executable-file"},
		{"a.deb", "!<arch>\ndebian-binary   ", "application/vnd.debian.binary-package", "executable-file"},
		{"a.rpm", "\xed\xab\xee\xdb\x03", "application/x-rpm", "executable-file"},
		{"a.dex", "dex\n035\x00", "application/vnd.android.dex", "executable-file"},
		{"a.wasm", "\x00asm\x01\x00\x00\x00", "application/wasm", "executable-file"},
		{"a.lnk", "L\x00\x00\x00\x01\x14\x02\x00", "application/x-ms-shortcut", "executable-file"},
		{"a.sh", "#!/bin/sh\n", "text/x-script", "executable-file"},
		{"a.enc", "Salted__12345678", "application/x-openssl-encrypted", "encrypted"},
		{"a.age", "age-encryption.org/v1\n", "application/x-age-encrypted", "encrypted"},
		{"a.age", "-----BEGIN AGE ENCRYPTED FILE-----\n", "application/x-age-encrypted", "encrypted"},
		{"a.img", "LUKS\xba\xbe\x00\x02", "application/x-luks", "encrypted"},
		{"a.xml", "<?xml version='1.0'?><a/>", "text/xml", ""},
		{"a.html", "\xef\xbb\xbf\n <HTML>", "text/html", ""},
		{"a.txt", "\xff\xfeh\x00i\x00", "text/plain", ""},
		{"a.txt", "", "application/x-empty", ""},
		{"a.pdf", "", "application/x-empty", ""},
		{"a.txt", "caf\xe9", "text/plain", ""}, // the end may be within a character
		{"a.dat", "caf\xe9 au lait", "application/octet-stream", ""},
	} {
		media, found := lookedAt(test.name, test.body)
		if media != test.media || found != test.found {
			t.Errorf("%s %.20q: %s %q, want %s %q", test.name, test.body, media, found, test.media, test.found)
		}
	}
}

// TestTextsThatBeginLikeOthers stay texts.
func TestTextsThatBeginLikeOthers(t *testing.T) {
	for _, text := range []string{"BMW prices for 2026, all models", "BM", "ID3 tags are old", "ID3", "GIF87 is older", "RIFF is a form", "PK is short for", "Rar is rare",
		"ustar is a form of tar", "#1 of the list", "%PDF is how it begins", "7zip is free", "Salted peanuts", "xml <?xml"} {
		if media, found := lookedAt("notes.txt", text); media != "text/plain" || found != "" {
			t.Errorf("%q: %s %q", text, media, found)
		}
	}
}

// TestDisguises: what endings promise, and what breaks the promise.
func TestDisguises(t *testing.T) {
	const png, pdf, script, gzip = "\x89PNG\r\n\x1a\n....", "%PDF-1.7\n", "#!/bin/sh\n", "\x1f\x8b\x08"
	program := string(pe())
	for _, test := range []struct {
		name, body string
		disguised  bool
	}{
		{"a.png", png, false}, {"a.jpg", png, false}, {"a.JPEG", png, false}, {"a.gif. ", png, false},
		{"a.pdf", png, true}, {"a.mp3", png, true}, {"a.txt", png, true}, {"a.docx", png, true}, {"a.zip", png, true}, {"a.7z", png, true}, {"a.exe", png, true},
		{"a", png, false}, {"a.unknown", png, false}, {"", png, false},
		{"a.pdf", pdf, false}, {"a.png", pdf, true}, {"a.doc", pdf, true}, {"a.odt", pdf, true},
		{"a.csv", "a,b", false}, {"a.json", "{}", false}, {"a.pdf", "no pdf", true}, {"a.png", "no png", true}, {"a.doc", "a text", false}, {"a.exe", "a text", true},
		{"a.sh", script, false}, {"a.txt", script, true}, {"a.md", script, true}, {"run", script, false},
		{"a.exe", program, false}, {"a.scr", program, false}, {"a.dll", program, false}, {"a.txt", program, true}, {"a.mp4", program, true},
		{"a.pdf.exe", program, true}, {"a.docx.scr", program, true}, {"a.v2.exe", program, false}, {"a.exe.exe", program, true},
		{"a.pdf.js", "alert(1)", true}, {"a.min.js", "alert(1)", false}, {"a.txt.gz", gzip, false}, {"a.jpg.zip", gzip, true},
		{"a\u202etxt.exe", program, true}, {"a\u2066.png", png, true}, {"a\u200b.png", png, false},
		{"a.pdf", "\x01\x02\x03", true}, {"a.docx", "\x01\x02\x03", false}, {"a.mp3", "\x01\x02\x03", false},
	} {
		_, found := lookedAt(test.name, test.body)
		if got := strings.Contains(found, filetype.Disguised); got != test.disguised {
			t.Errorf("%q %.12q: disguised %v", test.name, test.body, got)
		}
	}
}

// TestZipDirectories that lie: each is told as what cannot be looked into, none is read without bound.
func TestZipDirectories(t *testing.T) {
	good := zipOf(t, "a.txt", "b.txt")
	end := bytes.LastIndex(good, []byte("PK\x05\x06"))
	first := bytes.Index(good, []byte("PK\x01\x02"))
	change := func(at, size int, value uint32) []byte {
		z := bytes.Clone(good)
		b := binary.LittleEndian.AppendUint32(nil, value)
		copy(z[at:at+size], b)
		return z
	}
	for name, test := range map[string]struct {
		body   []byte
		reason string
	}{
		"good":                       {good, ""},
		"with a comment":             {append(change(end+20, 2, 5), "hello"...), ""},
		"self-extracting":            {append([]byte("PK\x03\x04 a stub "), good...), ""},
		"zip64":                      {change(end+16, 4, 0xFFFFFFFF), event.ReasonOversize},
		"a huge directory":           {change(end+12, 4, 0x7FFFFFFF), event.ReasonOversize},
		"offset beyond the end":      {change(end+16, 4, uint32(len(good))), event.ReasonUnparseable},
		"directory longer than that": {change(end+12, 4, uint32(len(good))), event.ReasonUnparseable},
		"a name longer than that":    {change(first+28, 2, 0xFFFF), event.ReasonUnparseable},
		"no directory":               {good[:first], event.ReasonUnparseable},
		"cut in the end record":      {good[:end+10], event.ReasonUnparseable},
		"another entry's mark":       {change(first, 4, 0x04034b50), event.ReasonUnparseable},
		"flag encrypted":             {change(first+8, 2, 1), event.ReasonEncrypted},
		"directory encrypted":        {change(first+8, 2, 0x2000), event.ReasonEncrypted},
		"method AES":                 {change(first+10, 2, 99), event.ReasonEncrypted},
	} {
		media, found := lookedAt("a.zip", string(test.body))
		if media != "application/zip" || found != test.reason {
			t.Errorf("%s: %s %q, want %q", name, media, found, test.reason)
		}
	}
}

// TestTextsAndDeadlines: a text has no type, and who comes late gets that as an answer.
func TestTextsAndDeadlines(t *testing.T) {
	in := filetype.New()
	if r := in.Inspect(t.Context(), &inspect.Item{Text: "MZ"}); r.Type != "" || len(r.Hits)+len(r.NotInspected) > 0 {
		t.Errorf("a text: %+v", r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := in.Inspect(ctx, &inspect.Item{Size: 2, Body: strings.NewReader("MZ")})
	if len(r.NotInspected) != 1 || r.NotInspected[0].Reason != event.ReasonTimeout {
		t.Errorf("too late: %+v", r)
	}
	if r := in.Inspect(t.Context(), &inspect.Item{Size: -1, Body: strings.NewReader("")}); len(r.Hits) > 0 {
		t.Errorf("of a negative size: %+v", r)
	}
	if in.Name() != "filetype" || in.Version() == "" || len(filetype.Hits()) != 2 {
		t.Errorf("%s %s %v", in.Name(), in.Version(), filetype.Hits())
	}
}
