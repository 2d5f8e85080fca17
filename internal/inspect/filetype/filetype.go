// Package filetype tells what a file is by its content, whatever it is called: its media type, whether it is a program, whether its name
// says something else, and whether it is encrypted so that nobody can look into it.
package filetype

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
)

// Names of the hits.
const (
	Disguised  = "disguised-file"  // its name says it is something else
	Executable = "executable-file" // a program, a package or a script
)

// Hits lists the names of the hits.
func Hits() []string { return []string{Disguised, Executable} }

// version changes when the same file may give another answer.
const version = "1"

// Inspector tells file types.
type Inspector struct{}

var _ inspect.Inspector = (*Inspector)(nil)

// New returns the inspector.
func New() *Inspector { return &Inspector{} }

// Name returns "filetype".
func (*Inspector) Name() string { return "filetype" }

// Version is the version of the signatures.
func (*Inspector) Version() string { return version }

// Inspect tells the type of a file. Texts have none.
func (in *Inspector) Inspect(ctx context.Context, item *inspect.Item) inspect.Result {
	if item.Body == nil {
		return inspect.Result{}
	}
	if ctx.Err() != nil {
		return inspect.NotInspected(in, item, event.ReasonTimeout)
	}
	head := make([]byte, min(headSize, max(item.Size, 0)))
	n, err := item.Body.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return inspect.NotInspected(in, item, event.ReasonUnreadable)
	}
	file := &file{head: head[:n], body: item.Body, size: item.Size}
	media, reason := file.media()
	if reason == "" {
		reason = file.encrypted(media)
	}
	out := inspect.Result{}
	if reason != "" {
		out = inspect.NotInspected(in, item, reason)
	}
	out.Type = media
	name := ""
	if item.File != nil {
		name = item.File.Name
	}
	if strength := executable(media, name); strength > 0 {
		out.Hits = append(out.Hits, in.hit(Executable, strength))
	}
	if disguised(media, name) {
		out.Hits = append(out.Hits, in.hit(Disguised, event.High))
	}
	return out
}

func (in *Inspector) hit(name string, c event.Confidence) event.Hit {
	return event.Hit{Inspector: in.Name(), Name: name, Count: 1, Confidence: c, Version: version}
}

// file is a file under inspection.
type file struct {
	head []byte
	body io.ReaderAt
	size int64
	zip  *directory // of a zip, once read
}

// media returns the media type by content, and a reason when the file claims a form that it does not have.
func (f *file) media() (media, reason string) {
	if f.size == 0 {
		return "application/x-empty", ""
	}
	media = byMagic(f.head)
	switch media {
	case "":
		return textual(f.head), ""
	case "application/zip":
		if f.zip, reason = readDirectory(f.body, f.size); reason != "" {
			return media, reason
		}
		return f.zip.media(), ""
	case "application/x-ole-storage":
		return oleMedia(f.head), ""
	}
	return media, ""
}

// textual tells kinds of text by how they begin; what is no text is application/octet-stream.
func textual(head []byte) string {
	start := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	lower := bytes.ToLower(start[:min(len(start), 512)])
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")):
		return "text/plain"
	case !isText(head):
		return "application/octet-stream"
	case bytes.HasPrefix(lower, []byte("<!doctype html")) || bytes.HasPrefix(lower, []byte("<html")):
		return "text/html"
	case bytes.Contains(lower, []byte("<svg")):
		return "image/svg+xml"
	case bytes.HasPrefix(lower, []byte("<?xml")):
		return "text/xml"
	}
	return "text/plain"
}

func isText(b []byte) bool {
	for _, c := range b {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b {
			return false
		}
	}
	for range utf8.UTFMax { // the head may end within a character
		if utf8.Valid(b) {
			return true
		}
		if len(b) == 0 {
			break
		}
		b = b[:len(b)-1]
	}
	return false
}

// programs are the media types of programs, packages and what starts them.
var programs = []string{"application/vnd.microsoft.portable-executable", "application/x-dosexec", "application/x-executable", "application/x-mach-binary",
	"application/vnd.debian.binary-package", "application/x-rpm", "application/x-msi", "application/java-archive", "application/java-vm",
	"application/vnd.android.package-archive", "application/vnd.android.dex", "application/x-ms-shortcut", "text/x-script", "application/wasm"}

// scriptNames are endings of texts that a double click runs.
var scriptNames = []string{".bat", ".cmd", ".ps1", ".vbs", ".vbe", ".js", ".jse", ".wsf", ".wsh", ".hta", ".scr", ".com", ".pif", ".reg", ".msi", ".exe", ".lnk", ".sh", ".command", ".scpt"}

func executable(media, name string) event.Confidence {
	if slices.Contains(programs, media) {
		return event.Exact
	}
	if slices.Contains(scriptNames, extension(name)) {
		return event.Medium
	}
	return 0
}

func extension(name string) string {
	return strings.ToLower(path.Ext(strings.TrimRight(name, " .")))
}

// families are the endings that promise a form, and the media types that keep the promise.
var families = []struct{ endings, media []string }{
	{[]string{".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif", ".ico"}, []string{"image/"}},
	{[]string{".svg"}, []string{"image/svg", "text/"}},
	{[]string{".mp3", ".wav", ".ogg", ".flac", ".m4a", ".mp4", ".mov", ".avi", ".webm", ".mkv", ".amr", ".aac"}, []string{"audio/", "video/"}},
	{[]string{".pdf"}, []string{"application/pdf"}},
	{[]string{".docx", ".xlsx", ".pptx", ".docm", ".xlsm", ".pptm"}, []string{"application/vnd.openxmlformats", "application/encrypted-office"}},
	{[]string{".doc", ".xls", ".ppt"}, []string{"application/msword", "application/x-ole-storage", "application/vnd.openxmlformats", "application/encrypted-office", "application/rtf", "text/"}},
	{[]string{".odt", ".ods", ".odp"}, []string{"application/vnd.oasis"}},
	{[]string{".txt", ".csv", ".md", ".log", ".json", ".yaml", ".yml"}, []string{"text/"}},
	{[]string{".zip"}, []string{"application/zip", "application/vnd.", "application/java-archive", "application/epub+zip"}},
	{[]string{".7z"}, []string{"application/x-7z-compressed"}},
	{[]string{".rar"}, []string{"application/vnd.rar"}},
	{[]string{".exe", ".dll", ".scr"}, []string{"application/vnd.microsoft.portable-executable", "application/x-dosexec"}},
}

// disguised reports whether a name hides what the file is: an ending of another form, a direction override, or a document's ending before
// a program's.
func disguised(media, name string) bool {
	if strings.ContainsAny(name, "\u202a\u202b\u202d\u202e\u2066\u2067\u2068") {
		return true
	}
	ending := extension(name)
	stem := extension(strings.TrimSuffix(strings.ToLower(strings.TrimRight(name, " .")), ending))
	if slices.Contains(scriptNames, ending) && stem != "" && promised(stem) != nil && executable(media, name) > 0 {
		return true
	}
	want := promised(ending)
	if want == nil || media == "application/x-empty" || media == "application/octet-stream" && !slices.Contains([]string{".pdf", ".png", ".jpg", ".jpeg", ".gif", ".exe"}, ending) {
		return false
	}
	return !slices.ContainsFunc(want, func(prefix string) bool { return strings.HasPrefix(media, prefix) }) || media == "text/x-script" && ending != ".sh"
}

func promised(ending string) []string {
	for _, f := range families {
		if slices.Contains(f.endings, ending) {
			return f.media
		}
	}
	return nil
}
